//! Directories beside a database: what is captured of both is settled under the number of the database's capture.

use super::connector::FilesConnector;
use crate::connector::contract::{Capture, Connector, Position};
use crate::connector::error::Error;

impl FilesConnector {
    /// Settles what was captured together with a database's rows, under the number of their capture. Settles it once,
    /// whatever crashes come between.
    ///
    /// # Errors
    /// The bookkeeping can't be written.
    pub fn settle_with(&mut self, number: u64, position: &Position) -> Result<(), Error> {
        let doing = "settle a capture";
        let (settled, _) = self.shadow.books().map_err(self.failed(doing))?;
        if self.shadow.partner().map_err(self.failed(doing))? >= number {
            return Ok(());
        }
        let own = settled.unsigned_abs() + 1;
        self.settle(&Capture { number: own, ..Capture::default() }, position)?;
        self.shadow.set_partner(number).map_err(self.failed(doing))
    }
}
