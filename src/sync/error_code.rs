//! Which code, and with it which exit code, an error has.

use super::code::Code;
use super::error::Error;
use super::store_error::store_code;
use crate::connector;
use crate::exchange;
use crate::state;

impl Error {
    /// Returns the word that scripts know this error by.
    pub fn code(&self) -> Code {
        match self {
            Self::NotAnInstance { .. } => Code::NotAnInstance,
            Self::AlreadyAnInstance { .. } => Code::AlreadyAnInstance,
            Self::NewerInstance { .. } => Code::NewerInstance,
            Self::Busy { .. } => Code::Busy,
            Self::Config { .. } | Self::ConfigDisagrees { .. } | Self::Setting { .. } => Code::Config,
            Self::Io { .. } => Code::Io,
            Self::Output(_) => Code::Output,
            Self::Identity(_) => Code::Identity,
            Self::State(source) if source.is_busy() => Code::Busy,
            Self::State(state::error::Error::Newer { .. }) => Code::NewerState,
            Self::State(state::error::Error::Damaged { .. }) => Code::StateDamaged,
            Self::State(_) => Code::State,
            Self::Database(source) => database_code(source),
            Self::Store { source, .. } => store_code(source),
            Self::Copy { source, .. } => store_code(source.of_store()),
            Self::Garbage { source: exchange::garbage::Error::Unread { .. }, .. } => Code::StoreDamaged,
            Self::Garbage { source: exchange::garbage::Error::Store(source), .. } => store_code(source),
            Self::Bundle(source) => source.code(),
            Self::Url { .. } => Code::BadUrl,
            Self::Card(_) => Code::BadCard,
            Self::Fingerprint { .. } => Code::Fingerprint,
            Self::Manifest { .. } | Self::ManifestDraft { .. } | Self::Schema { .. } => Code::Manifest,
            Self::Record { .. } | Self::Tree { .. } => Code::Records,
            Self::Bookkeeping(_) => Code::DatabaseDamaged,
            Self::Join { .. } => Code::Merge,
            Self::Changeset { .. } | Self::Seal { .. } => Code::Changeset,
            Self::UnknownPeer { .. } => Code::UnknownPeer,
            Self::PeerNameTaken { .. } | Self::NameReserved { .. } => Code::PeerNameTaken,
            Self::OtherIdentity { .. } => Code::OtherIdentity,
            Self::TwoIdentities { .. } => Code::OtherIdentity,
            Self::OlderCard { .. } => Code::OlderCard,
            Self::Revoked { .. } => Code::Revoked,
            Self::UnknownGroup { .. } => Code::UnknownGroup,
            Self::GroupExists { .. } => Code::GroupExists,
            Self::GroupInUse { .. } => Code::GroupInUse,
            Self::ForeignScope { .. } => Code::ForeignScope,
            Self::OwnRecord { .. } => Code::OwnRecord,
            Self::OwnCard => Code::OwnCard,
            Self::LastReader => Code::LastReader,
            Self::UnknownRemote { .. } => Code::UnknownRemote,
            Self::RemoteExists { .. } => Code::RemoteExists,
            Self::NoRemote => Code::NoRemote,
            Self::NoHub { .. } => Code::NoHub,
            #[cfg(feature = "git")]
            Self::Mirror { .. } => Code::Mirror,
            Self::Name(_) | Self::NameTakenByScope { .. } => Code::BadName,
            Self::Incompatible { .. } => Code::Incompatible,
            Self::OwnFile { .. } => Code::StateDamaged,
            Self::OtherSchema { .. } => Code::DatabaseOfOther,
            Self::NotFound { .. } | Self::UnknownDataset { .. } => Code::NotFound,
            Self::NotHeld { .. } | Self::DifferentScopes { .. } => Code::NotFound,
            Self::NoConflict { .. } => Code::NoConflict,
            Self::NoSide { .. } | Self::NoTexts { .. } => Code::NoSide,
            Self::NotEdited { .. } | Self::MarkersLeft { .. } => Code::NotEdited,
            Self::NotRevertible { .. } => Code::NotRevertible,
            Self::BadValue { .. } => Code::BadValue,
            Self::Ambiguous { .. } => Code::Ambiguous,
            Self::LostHistory { .. } | Self::LostCommit { .. } | Self::OldDatabase { .. } => Code::LostHistory,
            Self::StillForked { .. } => Code::StillForked,
            Self::RestoreUnfinished => Code::RestoreUnfinished,
            Self::Export(_) => Code::BadExport,
            Self::RestoreAlone | Self::RestoreUnheard { .. } => Code::RestoreAlone,
            Self::NothingToRestore { .. } => Code::NothingToRestore,
            Self::Raced { .. } => Code::Raced,
            Self::Restless => Code::Restless,
            Self::Refused { .. } => Code::Refused,
            Self::UnknownAudience { .. } => Code::UnknownAudience,
            Self::NotOurs { .. } => Code::NotOurs,
            Self::NothingToClone { .. } => Code::NothingToClone,
            Self::MembersOnly { .. } => Code::MembersOnly,
            Self::Document { .. } => Code::Document,
            Self::Proof { source, .. } => match **source {
                super::proof::ProofError::OtherOrigin { .. } => Code::OtherOrigin,
                _ => Code::Proof,
            },
            Self::NotSigned { .. } => Code::NotSigned,
            Self::Reveals { .. } => Code::Reveals,
            Self::NoKey { .. } => Code::NoKey,
        }
    }
}

fn database_code(error: &connector::error::Error) -> Code {
    use connector::error::Error as Database;
    match error {
        Database::Missing { .. } | Database::Unreachable { .. } => Code::DatabaseMissing,
        Database::OtherTable { .. } | Database::Reborn { .. } => Code::LostHistory,
        Database::NotADatabase { .. } => Code::NotADatabase,
        Database::Damaged { .. } | Database::Books { .. } | Database::EmptyBooks { .. } => Code::DatabaseDamaged,
        Database::Locked { .. } => Code::DatabaseLocked,
        Database::ReadOnly { .. } | Database::Forbidden { .. } => Code::DatabaseReadOnly,
        Database::Address { .. } | Database::EnvLine { .. } | Database::Tls { .. } => Code::DatabaseAddress,
        Database::UnknownPreset { .. } => Code::UnknownPreset,
        Database::ReadMapping { .. }
        | Database::BadMapping { .. }
        | Database::UnknownTable { .. }
        | Database::UnknownColumn { .. }
        | Database::NothingToMap { .. }
        | Database::Unfit { .. } => Code::Mapping,
        Database::NotReady { .. } => Code::NotReady,
        Database::Condition { .. } => Code::BadValue,
        Database::NotCaptured { .. } => Code::NotFound,
        Database::Newer { .. } | Database::OtherInstance { .. } => Code::DatabaseOfOther,
        Database::File { .. } | Database::Directory { .. } | Database::Sqlite { .. } | Database::Postgres { .. } => {
            Code::Database
        }
        Database::ApplyUnfinished | Database::NoApply { .. } | Database::StaleCapture { .. } => Code::Database,
        Database::Sink(_) | Database::Source(_) => Code::Database,
    }
}
