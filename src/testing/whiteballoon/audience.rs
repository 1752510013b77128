//! Who may see a made-up row, as the preset of the application reads its scope column.

use crate::testing::prng::Prng;

/// From few to many; the audience of a child is the least of its own and its parents'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Audience {
    Private,
    Trusted,
    Public,
}

impl Audience {
    /// Draws a value for the scope column and says what it means: 70 % public, 20 % private, 8 % trusted, 2 % odd.
    pub(super) fn draw(random: &mut Prng) -> (&'static str, Self) {
        match random.below(100) {
            0..70 => ("public", Self::Public),
            70..90 => ("private", Self::Private),
            90..98 => ("trusted", Self::Trusted),
            _ => (random.pick(ODD), Self::Private),
        }
    }

    pub(super) fn is_private(self) -> bool {
        self == Self::Private
    }
}

/// Values that mean nothing to us and so read as private.
const ODD: &[&str] = &["do_not_sync", "PUBLIC", " public", "shared", "group:", ""];
