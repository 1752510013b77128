//! What fuzzing of a decoder begins with: the vectors of format/vectors, and a few words for what has none.

use std::fs;
use std::path::{Path, PathBuf};

use crate::keys::card::SignedCard;
use crate::sync::proof::Proof;
use crate::testing::conversations;

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
        "dotenv" => &[
            "# settings\nexport DATABASE_URL='sqlite:///data/app.db'\nOTHER=\"a \\\"b\\\" $C\"\n",
            "DATABASE_URL=postgresql://u:p@host/db # comment\nEMPTY=\n",
        ],
        "dburl" => &[
            "sqlite:///data/app.db",
            "sqlite+aiosqlite:////srv/app.db?mode=ro",
            "postgresql+psycopg://user:s%40cret@[::1]:5432/app?sslmode=verify-full&options=-csearch_path%3Dx",
            "data/app.db",
        ],
        "http/objects" => &[r#"{"objects":[["5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c",12]]}"#],
        "http/join" => &[r#"{"token":"abc"}"#],
        "http/info" => &[concat!(
            r#"{"service":"wbsync","protocol":1,"store_format":"wbsync store 1","time":1,"public":true,"limits":{"#,
            r#""object_bytes":1,"document_bytes":2,"header_bytes":3,"objects_per_request":4,"changes_per_answer":5,"#,
            r#""wait_seconds":6,"clock_seconds":7,"requests_per_second":8,"uploads_at_once":9,"quota_bytes":10,"scopes":11}}"#
        )],
        "http/names" => &[r#"{"names":["5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c"]}"#],
        "http/offers" => &[r#"{"names":["a"],"parts":[["a",3]]}"#],
        "http/held" => &[r#"{"objects":[["a",1,2]],"more":true}"#],
        "http/changes" => &[r#"{"cursor":"7","more":false,"changes":[{"path":"format","hash":"ab"}]}"#],
        "http/problem" => {
            &[r#"{"status":412,"code":"swapped","title":"no","found":"ab","bound":7,"offset":1,"time":2}"#]
        }
        "http/tag" => &["\"5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c\""],
        "http/authority" => &["hub.example:443", "[::1]:8080", "127.0.0.1"],
        "hub" => &[
            "GET /info HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n",
            "GET /changes?since=0&wait=0 HTTP/1.1\r\nHost: hub\r\n\r\nGET /objects?after=aa HTTP/1.1\r\nHost: hub\r\n\r\n",
            "GET /format HTTP/1.1\r\nHost: hub\r\nRange: bytes=2-\r\nIf-None-Match: \"ab\"\r\n\r\n",
            concat!(
                "POST /missing HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\r\n",
                r#"{"objects":[["5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c",1]]}"#
            ),
            concat!(
                "PUT /objects/5c/5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c.age HTTP/1.1\r\nHost: hub\r\n",
                "Content-Range: bytes 0-3/4\r\nContent-Length: 4\r\nContent-Digest: sha-256=:AAAA=:\r\n\r\nabcd"
            ),
            concat!(
                "PUT /scopes/01010101010101010101010101010101/manifest HTTP/1.1\r\nHost: hub\r\nIf-Match: \"ab\"\r\n",
                "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
            ),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ],
        "any-cbor" => return vectors("cbor"),
        "card-line" => {
            let cards = vectors("card");
            return cards.iter().filter_map(|card| Some(SignedCard::open(card).ok()?.line().into_bytes())).collect();
        }
        "node" => {
            let proofs = vectors("proof");
            return proofs.iter().filter_map(|proof| Proof::decode(proof).ok()).flat_map(|proof| proof.nodes).collect();
        }
        "bundle-file" => {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/frozen/1/all.tar");
            return vec![fs::read(file).expect("the frozen bundle can be read")];
        }
        #[cfg(feature = "git")]
        "git/server" => return vec![conversations::git_answer()],
        #[cfg(feature = "git")]
        "git/pack" => return vec![conversations::git_pack()],
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
