//! Where a passphrase comes from: a file, the environment, or somebody who types it unseen.

use std::io::{self, Read};
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::failure::Failure;
use crate::sync::error::Error;

/// How a command gets its passphrase.
#[derive(Debug, Default, clap::Args)]
pub struct Source {
    /// Take the passphrase from the first line of FILE (`-`: standard input); otherwise WBSYNC_PASSPHRASE, otherwise it
    /// is asked for on the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Whether a passphrase is new, so that a slip of the hand must not go unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Something is sealed with it: asked for twice.
    Seal,
    /// Something is opened with it.
    Open,
}

impl Source {
    /// Returns the passphrase.
    ///
    /// # Errors
    /// `Usage` if there is none and nobody to ask, or what was typed differs; `Io` if the file can't be read.
    pub fn passphrase(&self, purpose: Use) -> Result<Zeroizing<String>, Failure> {
        if let Some(path) = &self.passphrase_file {
            let read = || -> io::Result<Zeroizing<String>> {
                let file: Box<dyn Read> = if path.as_os_str() == "-" {
                    Box::new(io::stdin().lock())
                } else {
                    Box::new(std::fs::File::open(path)?)
                };
                first_line(file)
            };
            return Ok(read().map_err(Error::io("read the passphrase in", path))?);
        }
        if let Some(text) = std::env::var_os(VARIABLE) {
            let text = text.into_string().map_err(|_| Failure::Usage(format!("{VARIABLE} is no UTF-8 text")))?;
            return Ok(Zeroizing::new(text));
        }
        let ask = |prompt| {
            let asked = rpassword::prompt_password(prompt).map(Zeroizing::new);
            asked.map_err(|_| {
                let message =
                    format!("there is no terminal to ask for the passphrase; give --passphrase-file or {VARIABLE}");
                Failure::Usage(message)
            })
        };
        let passphrase = ask("Passphrase: ")?;
        if purpose == Use::Seal && *ask("The same again: ")? != *passphrase {
            return Err(Failure::Usage("the two passphrases differ; nothing was done".into()));
        }
        Ok(passphrase)
    }
}

/// Reads up to the end of the first line, or of everything.
fn first_line(reader: impl Read) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX));
    reader.take(BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() == BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its first line has {BYTES_MAX} bytes or more"),
        ));
    }
    let line = std::str::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Zeroizing::new(line.to_owned()))
}

const VARIABLE: &str = "WBSYNC_PASSPHRASE";
/// The most bytes that are read for a passphrase.
const BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts_without_its_end() {
        for (text, expected) in [
            ("", ""),
            ("\n", ""),
            (" two words ", " two words "),
            ("two words\n", "two words"),
            ("two words\r\nmore", "two words"),
        ] {
            assert_eq!(*first_line(text.as_bytes()).unwrap(), expected);
        }
        assert!(first_line(&[0xff, b'\n'][..]).is_err());
        assert!(first_line("x".repeat(BYTES_MAX).as_bytes()).is_err());
        assert_eq!(first_line("x".repeat(BYTES_MAX - 1).as_bytes()).unwrap().len(), BYTES_MAX - 1);
    }
}
