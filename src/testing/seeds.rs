//! What fuzzing of a decoder begins with: the vectors of format/vectors, and a few words for what has none.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the examples of the decoder of that name, good and bad.
///
/// Of documents it is the payload alone: `decoders` signs again whatever becomes of it.
///
/// # Panics
/// If the vectors of the source tree can't be read.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    let texts: &[&str] = match name {
        "mapping" => &[include_str!("../connector/presets/whiteballoon.toml")],
        "config" => &[
            "[instance]\nname = \"alpha\"\n\n[database]\nurl = \"sqlite:///data/app.db\"\npreset = \"whiteballoon\"\n",
            "[network]\nmode = \"hybrid\"\nrelay = \"followed\"\nurls = [\"https://hub.example\"]\n",
            "[dataset.users.fields.contact_email]\nscope = \"peers:beta,gamma\"\n",
        ],
        "url" => &[
            "/mnt/stick/wb",
            "../wb",
            "file:///mnt/wb",
            "https://user:secret@hub.example:8443/wb?x#y",
            "http://[::1]:8080/",
            "ssh://user@[fe80::1]:2222/srv/wb",
            "host:path",
            "user@host:~/wb",
            "git+ssh://git@host/repo.git",
            "git+https://host/repo.git",
            "-oProxyCommand=x:y",
        ],
        "path" => &[
            "format",
            "instances/0101010101010101010101010101010101010101010101010101010101010101",
            "objects/01/0101010101010101010101010101010101010101010101010101010101010101.age",
            "scopes/01010101010101010101010101010101/manifest",
        ],
        "signature" => &[concat!(
            "wbsync=(\"@method\" \"@authority\" \"@path\" \"@query\");created=1800000000;",
            "nonce=\"01010101010101010101010101010101\";",
            "keyid=\"0101010101010101010101010101010101010101010101010101010101010101\";alg=\"ed25519\";tag=\"wbsync\"\n",
            "wbsync=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==:"
        )],
        "card" | "manifest" | "head" | "receipt" | "bundle" | "request" => {
            return vectors(name).iter().filter_map(|envelope| payload(envelope)).collect();
        }
        _ => return vectors(name),
    };
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Returns the first part of an envelope (format/document.md).
fn payload(envelope: &[u8]) -> Option<Vec<u8>> {
    let parts = ciborium::from_reader::<ciborium::Value, _>(envelope).ok()?.into_array().ok()?;
    parts.into_iter().next()?.into_bytes().ok()
}

fn vectors(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("format/vectors").join(name);
    let mut files: Vec<PathBuf> = ["accept", "reject"]
        .iter()
        .filter_map(|verdict| fs::read_dir(dir.join(verdict)).ok())
        .flat_map(|entries| entries.map(|entry| entry.expect("the source tree can be read").path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .collect();
    files.sort();
    files.iter().map(|path| from_hex(&fs::read_to_string(path).expect("a vector can be read"))).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
