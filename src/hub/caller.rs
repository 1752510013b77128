//! Who asks: what the rest of a hub knows of a request's sender.

use crate::hub::members::Role;
use crate::id::bytes::InstanceId;

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody whose request isn't signed.
    Anyone,
    /// A member that signed.
    Member(InstanceId, Role),
    /// Whoever runs the program itself, over a pipe: the files are theirs anyway.
    Owner,
}

impl Caller {
    /// Returns the instance, if one is known.
    pub fn id(&self) -> Option<InstanceId> {
        match self {
            Self::Member(id, _) => Some(*id),
            Self::Anyone | Self::Owner => None,
        }
    }

    /// Returns a word for what kind it is: two of one kind may see the same of what is meant for neither in particular.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Member(_, Role::Admin) => "admin",
            Self::Member(..) => "member",
            Self::Owner => "owner",
        }
    }

    /// Tells whether it may store something.
    pub fn may_write(&self) -> bool {
        matches!(self, Self::Owner | Self::Member(_, Role::Writer | Role::Admin))
    }

    /// Tells whether it may see and remove everything.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Owner | Self::Member(_, Role::Admin))
    }
}
