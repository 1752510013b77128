//! What a failed call to a store means for a command: its code, and what to do next.

use std::io;

use super::code::Code;
use crate::exchange::store::StoreError;
use crate::id::name::PeerName;

/// Returns the code of a failed call to a store.
pub(super) fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::Unreachable { .. } => Code::Unreachable,
        StoreError::NotAStore { .. } => Code::NotAStore,
        StoreError::NewerFormat { .. } => Code::NewerStore,
        StoreError::Damaged { .. } | StoreError::Missing { .. } | StoreError::Irregular { .. } => Code::StoreDamaged,
        StoreError::Denied { .. } | StoreError::Incomplete { .. } => Code::StoreDenied,
        StoreError::Busy { .. } => Code::StoreBusy,
        StoreError::Swapped { .. } => Code::Raced,
        StoreError::Full { .. } => Code::StoreFull,
        StoreError::ReadOnly { .. } => Code::StoreReadOnly,
        StoreError::TooLarge { .. } | StoreError::Source { .. } | StoreError::Io { .. } => Code::Store,
    }
}

/// Says that no store has anything of ours; `remote` is the one that was named first, if any was.
pub(super) fn offers_nothing(remote: &str) -> String {
    match remote {
        "" => "no store was named that could have something of ours to restore from".into(),
        remote => format!("{remote} offers nothing of ours to restore from, and neither does any other that was asked"),
    }
}

/// Says what to do about it; `of` is what the command was given: a remote's name, a directory or a URL.
pub(super) fn store_hint(of: Option<&str>, error: &StoreError) -> String {
    let remote = of.filter(|of| PeerName::new(of).is_ok());
    match error {
        StoreError::Unreachable { .. } => {
            let there = "is the stick plugged in, the disk mounted, the hub running";
            match remote {
                Some(name) => format!("{there}? A remote's store that is lost for good: `wbsync repair {name} --recreate`"),
                None => format!("{there}, and the path or URL right?"),
            }
        }
        StoreError::NotAStore { .. } => match remote {
            Some(name) => format!(
                "if it was a store and is damaged or lost: `wbsync repair {name}`, with `--recreate` to make a new one. \
                 Otherwise `wbsync remote remove {name}`, and add a hub, the directory of a store, or an empty one: the \
                 first push makes it a store"
            ),
            None => "give the directory of a store, or the URL of a hub. If it was a store and lost its `format` file, \
                     `wbsync repair DIRECTORY` writes that again; if all is gone, instances that have it as a remote make \
                     it again: `wbsync repair REMOTE --recreate`"
                .into(),
        },
        StoreError::NewerFormat { .. } => "use a later version of wbsync".into(),
        StoreError::Full { .. } => {
            "make room there, then run the same command again; it goes on where it stopped".into()
        }
        StoreError::ReadOnly { .. } => "mount it writable, or choose another place".into(),
        StoreError::Denied { .. } => {
            "at a hub, join with an invitation, `wbsync hub join REMOTE --token-file FILE`, or ask its operator for the right; \
             of a directory, check owner and mode"
                .into()
        }
        StoreError::Swapped { .. } => "others keep writing there; try again in a moment".into(),
        StoreError::Damaged { .. } | StoreError::Missing { .. } => {
            "ask the instance that wrote it to push again, or fetch from another remote".into()
        }
        StoreError::Busy { .. } => "wait until it is done, then try again".into(),
        StoreError::Incomplete { .. } => {
            "run the same command again: it sends the object too; if that doesn't help, `wbsync fsck`".into()
        }
        StoreError::TooLarge { .. } | StoreError::Irregular { .. } => {
            "whoever keeps that store must look at it: wbsync writes no such thing; `wbsync fsck URL` lists what is wrong".into()
        }
        StoreError::Source { .. } => "`wbsync fsck` tells what is wrong with the store that they come from".into(),
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
            "try again when the line is better; what came so far isn't fetched twice".into()
        }
        StoreError::Io { .. } => {
            "the reason is the system's or the hub's own; if it lasts, whoever keeps that store must look at it".into()
        }
    }
}
