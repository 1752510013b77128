//! What a failed call to a store means for a command: its code, and what to do next.

use super::code::Code;
use crate::exchange::store::StoreError;

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

/// Says what to do about it.
pub(super) fn store_hint(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Unreachable { .. } => {
            "is the stick plugged in, the disk mounted, the hub running? (lost for good: `wbsync repair REMOTE --recreate`)"
                .into()
        },
        StoreError::NotAStore { .. } => {
            "give a hub, or the directory of a store, or one that is empty: the first push makes it a store. If a remote's \
             store is damaged or lost: `wbsync repair REMOTE`, with `--recreate` to make a new one"
                .into()
        }
        StoreError::NewerFormat { .. } => "use a later version of wbsync".into(),
        StoreError::Full { .. } => {
            "make room there, then run the same command again; it goes on where it stopped".into()
        }
        StoreError::ReadOnly { .. } => "mount it writable, or choose another place".into(),
        StoreError::Denied { .. } => {
            "at a hub, join with an invitation: `wbsync hub join REMOTE --token-file FILE`; of a directory, check owner and mode"
                .into()
        }
        StoreError::Swapped { .. } => "others keep writing there; try again in a moment".into(),
        StoreError::Damaged { .. } | StoreError::Missing { .. } => {
            "ask the instance that wrote it to push again, or fetch from another remote".into()
        }
        StoreError::Busy { .. } => "wait until it is done, then try again".into(),
        _ => return None,
    })
}
