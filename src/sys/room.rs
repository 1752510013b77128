//! How much room is left on a disk.

use std::io;
use std::path::Path;

/// Returns how many bytes can still be written where `path` is; `None` where the system doesn't say.
///
/// # Errors
/// The system can't look there.
pub fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    #[cfg(unix)]
    {
        let told = rustix::fs::statvfs(path)?;
        Ok(Some(told.f_bavail.saturating_mul(told.f_frsize)))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(None)
    }
}
