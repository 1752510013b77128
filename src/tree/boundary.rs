//! The boundary rule: which entries end a node (format/tree.md, "Boundary").
//!
//! Node sizes follow a Weibull distribution (shape 4, scale 4096 bytes), as in Dolt: few small nodes and
//! few large ones, so that an edit seldom moves a boundary. The distribution is a table of integers,
//! because floating point isn't the same everywhere and a tree must be.

use super::limits::NODE_BYTES_MIN;

/// From this size of entries on, every entry ends its node.
pub(super) const SURELY_CUT_BYTES: usize = (SURVIVAL.len() - 1) * STEP_BYTES;

/// Tells whether an entry ends its node.
///
/// `before` and `after` are the bytes of the node's entries without and with it; `hash` is the
/// boundary hash of its key. An entry ends the node with the probability that the distribution puts
/// between the two sizes, given that no earlier entry did.
pub(super) fn ends_node(before: usize, after: usize, hash: impl FnOnce() -> u32) -> bool {
    if after < NODE_BYTES_MIN {
        return false;
    }
    let (before, after) = (survival(before), survival(after));
    after == 0 || u64::from(hash()) * before < (before - after) << 32
}

/// Returns 2^32 - 1 times the probability that a node is larger than `bytes`.
fn survival(bytes: usize) -> u64 {
    if bytes >= SURELY_CUT_BYTES {
        return 0;
    }
    let (index, rest) = (bytes / STEP_BYTES, (bytes % STEP_BYTES) as u64);
    let (here, next) = (u64::from(SURVIVAL[index]), u64::from(SURVIVAL[index + 1]));
    here - (here - next) * rest / STEP_BYTES as u64
}

/// Distance of the table's sizes.
const STEP_BYTES: usize = 64;

/// Entry i is `round((2^32 - 1) * exp(-(64 * i / 4096)^4))`.
#[rustfmt::skip]
const SURVIVAL: [u32; 141] = [
    0xffffffff, 0xfffffeff, 0xffffefff, 0xffffaeff, 0xffff0000, 0xfffd8f02, 0xfffaf00c, 0xfff69f2b,
    0xfff0007f, 0xffe66047, 0xffd8f2fa, 0xffc6d562, 0xffaf0cce, 0xff90874b, 0xff6a1bf2, 0xff3a8b4d,
    0xff007fd4, 0xfeba8e8c, 0xfe6737bc, 0xfe04e7d6, 0xfd91f884, 0xfd0cb1dd, 0xfc734bd7, 0xfbc3efec,
    0xfafcbafa, 0xfa1bbf62, 0xf91f0768, 0xf80497e1, 0xf6ca731f, 0xf56e9c31, 0xf3ef1a63, 0xf249fd17,
    0xf07d5fdd, 0xee876edc, 0xec666b74, 0xea18b12a, 0xe79cbac7, 0xe4f1279f, 0xe214c108, 0xdf067fde,
    0xdbc59211, 0xd851602d, 0xd4a992bc, 0xd0ce1788, 0xccbf2680, 0xc87d464d, 0xc4095066, 0xbf647496,
    0xba903bcc, 0xb58e8a29, 0xb061a02d, 0xab0c1ae7, 0xa590f314, 0x9ff37b1e, 0x9a375be5, 0x9460904b,
    0x8e735f7a, 0x887455e6, 0x82683d0a, 0x7c5411fa, 0x763cfac9, 0x70283af6, 0x6a1b26ee, 0x641b16d8,
    0x5e2d58d8, 0x585722ff, 0x529d851f, 0x4d055ad2, 0x47933ddb, 0x424b7942, 0x3d31fd50, 0x384a54c7,
    0x33979b74, 0x2f1c7668, 0x2adb0df6, 0x26d5099d, 0x230b8df3, 0x1f7f3cac, 0x1c30369d, 0x191e1fd1,
    0x1648257e, 0x13ad05b6, 0x114b18ab, 0x0f205b46, 0x0d2a7ac8, 0x0b66e138, 0x09d2c242, 0x086b284b,
    0x072d015f, 0x06152bbd, 0x052081bb, 0x044be4c1, 0x0394473c, 0x02f6b557, 0x02705c5f, 0x01fe90d1,
    0x019ed301, 0x014ed264, 0x010c6f99, 0x00d5bd3b, 0x00a8ffa4, 0x0084abc0, 0x0067651e, 0x004ffb5a,
    0x003d671a, 0x002ec6b1, 0x00235a92, 0x001a81bf, 0x0013b62d, 0x000e8962, 0x000aa12b, 0x0007b4a4,
    0x00058977, 0x0003f171, 0x0002c855, 0x0001f205, 0x000158e9, 0x0000ec95, 0x0000a0b2, 0x00006c12,
    0x000047f2, 0x00002f68, 0x00001ee9, 0x000013f1, 0x00000cba, 0x00000809, 0x00000504, 0x00000318,
    0x000001e3, 0x00000123, 0x000000ae, 0x00000066, 0x0000003b, 0x00000022, 0x00000013, 0x0000000b,
    0x00000006, 0x00000003, 0x00000002, 0x00000001, 0x00000000,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is the Weibull distribution it claims to be, to the last integer.
    #[test]
    fn table_is_weibull_of_shape_4_and_scale_4096() {
        for (index, entry) in SURVIVAL.iter().enumerate() {
            let x = (index * STEP_BYTES) as f64 / 4096.0;
            let wanted = f64::from(u32::MAX) * (-x.powi(4)).exp();
            assert!((f64::from(*entry) - wanted).abs() <= 0.51, "entry {index}: {entry}, wanted {wanted}");
        }
        assert_eq!(SURVIVAL.last(), Some(&0));
    }

    #[test]
    fn survival_never_rises_and_is_exact_at_the_steps() {
        assert!((0..SURELY_CUT_BYTES + 100).all(|bytes| survival(bytes) >= survival(bytes + 1)));
        assert_eq!(survival(64 * 64), u64::from(SURVIVAL[64]));
    }

    #[test]
    fn small_nodes_never_end_and_large_ones_always() {
        assert!(!ends_node(0, NODE_BYTES_MIN - 1, || 0));
        assert!(ends_node(0, NODE_BYTES_MIN, || 0));
        assert!(!ends_node(4000, 4400, || u32::MAX));
        assert!(ends_node(SURELY_CUT_BYTES - 100, SURELY_CUT_BYTES, || u32::MAX));
        assert!(ends_node(1 << 20, 2 << 20, || u32::MAX));
    }

    /// The chance to end depends on the bytes an entry brings, not on how many entries there are.
    #[test]
    fn one_large_step_ends_as_often_as_many_small_ones() {
        let stays = |before: usize, after: usize| survival(after) as f64 / survival(before) as f64;
        let many: f64 = (3000..3640).step_by(64).map(|at| stays(at, at + 64)).product();
        assert!((many - stays(3000, 3640)).abs() < 1e-6);
    }
}
