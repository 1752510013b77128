//! Codes: one stable word for each way in which a command can fail, and the exit code that goes with it.
//!
//! Scripts and the `--json` form rest on the words: one is never given a new meaning. The table in
//! docs/exit-codes.md is this one; a test compares them.

use super::error::exit;

macro_rules! codes {
    ($($variant:ident $word:literal $exit:ident $meaning:literal;)*) => {
        /// Why a command failed, as one word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "`meaning` says it")]
        pub enum Code { $($variant),* }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Returns the exit code.
            pub const fn exit(self) -> u8 {
                match self { $(Self::$variant => exit::$exit),* }
            }

            /// Says what it means, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

codes! {
    Usage "usage" USAGE "the command line is wrong";
    NotAnInstance "not-an-instance" ERROR "there is no `.wbsync` here or above";
    AlreadyAnInstance "already-an-instance" ERROR "`init` or `clone` where an instance is";
    NewerInstance "newer-instance" ERROR "`.wbsync` was made by a later version";
    NewerState "newer-state" ERROR "`state.db` was written by a later version";
    Busy "busy" BUSY "another wbsync command is at work in this instance";
    WorkerRunning "worker-running" BUSY "a background worker is running for this instance already";
    WorkerAddress "worker-address" ERROR "the background worker can't listen on the address";
    Worker "worker" ERROR "the background worker can't go on";
    Config "config" ERROR "`wbsync.toml` can't be read";
    Io "io" ERROR "a file can't be read or written";
    Output "output" ERROR "standard output can't be written";
    Identity "identity" ERROR "the keys of this instance can't be used";
    State "state" ERROR "the local state can't be used";
    StateDamaged "state-damaged" DAMAGED "the local state is damaged, or a file of the instance itself";
    DatabaseMissing "database-missing" ERROR "the application's database isn't there";
    NotADatabase "not-a-database" ERROR "the file given as the application's database is something else";
    DatabaseAddress "database-address" ERROR "the database's address can't be used by this version";
    DatabaseLocked "database-locked" BUSY "another program kept the application's database locked";
    DatabaseReadOnly "database-read-only" ERROR "the application's database can't be written";
    DatabaseDamaged "database-damaged" DAMAGED "the application's database, or our bookkeeping in it, is damaged";
    Database "database" ERROR "the application's database can't be used for another reason";
    DatabaseOfOther "database-of-other" ERROR "the bookkeeping in the database belongs to another instance, to tables of another schema, or to a later version";
    UnknownPreset "unknown-preset" ERROR "no preset has this name";
    Mapping "mapping" ERROR "the mapping is wrong, or doesn't fit the database";
    Incompatible "incompatible" ERROR "records of a store don't fit the application's tables";
    NotReady "not-ready" ERROR "the application can't receive records yet";
    BadUrl "bad-url" ERROR "a remote's URL can't be used";
    Unreachable "unreachable" UNREACHABLE "a remote isn't there";
    NotAStore "not-a-store" ERROR "a remote is something else than a store";
    NewerStore "newer-store" ERROR "a remote was written by a later version";
    StoreDenied "store-denied" REFUSED "a remote refuses us, or what we send";
    StoreDamaged "store-damaged" DAMAGED "a remote holds something damaged";
    StoreBusy "store-busy" BUSY "another program kept a remote locked";
    StoreFull "store-full" ERROR "a remote has no room left";
    StoreReadOnly "store-read-only" ERROR "a remote can't be written";
    Store "store" ERROR "a remote can't be used for another reason";
    Raced "raced" RETRY "a remote changed meanwhile";
    NoRemote "no-remote" ERROR "there is no remote to exchange with";
    BundleDamaged "bundle-damaged" DAMAGED "a bundle is damaged, cut short, or none";
    BundleIncomplete "bundle-incomplete" ERROR "a part of a bundle is missing";
    BundleSealed "bundle-sealed" REFUSED "a bundle is sealed, and not to this instance";
    Bundle "bundle" ERROR "a bundle can't be read or written";
    NoHub "no-hub" ERROR "a remote is a directory, which nobody has to join";
    Mirror "mirror" ERROR "a mirror can't be written: something else is there, or the disk refuses";
    UnknownRemote "unknown-remote" ERROR "no remote has this name";
    RemoteExists "remote-exists" ERROR "a remote has this name already";
    NothingToClone "nothing-to-clone" ERROR "a store holds no instance to clone from";
    MembersOnly "members-only" REFUSED "a hub is cloned by its members only, and this instance is none";
    BadCard "bad-card" REFUSED "a text isn't a card, or was altered";
    OwnCard "own-card" ERROR "a card is that of this instance";
    OtherIdentity "other-identity" REFUSED "a card has another identity than the peer that is pinned under its name, or several claim one name";
    OlderCard "older-card" REFUSED "a card is older than the one that we have of the peer";
    LastReader "last-reader" REFUSED "this instance can't be removed from its own scopes";
    Fingerprint "fingerprint" REFUSED "a card has another fingerprint than expected";
    UnknownPeer "unknown-peer" ERROR "no peer has this name";
    PeerNameTaken "peer-name-taken" ERROR "another peer has this name";
    Revoked "revoked" REFUSED "a peer is revoked here";
    UnknownGroup "unknown-group" ERROR "no group has this name";
    GroupExists "group-exists" ERROR "a group has this name already";
    GroupInUse "group-in-use" ERROR "records are still shared with a group";
    ForeignScope "foreign-scope" ERROR "a scope belongs to another instance";
    OwnRecord "own-record" ERROR "a record is one of this instance itself";
    BadName "bad-name" ERROR "a name breaks the rule of its kind";
    Manifest "manifest" ERROR "a scope's manifest can't be read or changed";
    NotFound "not-found" ERROR "a record, commit or scope isn't here";
    NoConflict "no-conflict" ERROR "no open conflict is called so";
    NoSide "no-side" ERROR "a choice fits none of a conflict's values, or several";
    NotEdited "not-edited" ERROR "a conflict was not settled in the editor";
    NotRevertible "not-revertible" ERROR "a commit can't be reverted";
    BadValue "bad-value" ERROR "a text is no value for a field";
    UnknownAudience "unknown-audience" ERROR "a scope is nobody's that rows can be shared with";
    NotOurs "not-ours" REFUSED "a row belongs to another instance";
    Ambiguous "ambiguous" ERROR "a few digits match several things";
    Document "document" DAMAGED "a file isn't the document, object or CBOR that it should be";
    Proof "proof" DAMAGED "a file proves nothing: it is no proof, or was altered";
    OtherOrigin "other-origin" REFUSED "a proof is about records of another instance";
    NotSigned "not-signed" ERROR "no head shows a record as a proof would need it";
    Reveals "reveals" REFUSED "a proof would show records of a scope that isn't public";
    NoKey "no-key" REFUSED "none of our keys opens an object";
    Records "records" DAMAGED "records of the local state are damaged";
    Merge "merge" ERROR "commits can't be merged";
    Changeset "changeset" ERROR "a changeset can't be made or sealed";
    LostHistory "lost-history" REFUSED "a remote has documents of ours that this instance never made: it is an old copy, or one of two; or the application's database is older than `.wbsync`";
    StillForked "still-forked" REFUSED "a peer that published two histories was not restored since";
    RestoreUnfinished "restore-unfinished" BUSY "a `restore` was begun and has to be finished first";
    RestoreAlone "restore-alone" UNREACHABLE "no remote can be asked what this instance published";
    NothingToRestore "nothing-to-restore" ERROR "no remote holds anything of this instance";
    BadExport "bad-export" REFUSED "a text is no exported identity, was altered, or the passphrase is another";
    Refused "refused" REFUSED "documents of a remote were refused";
    Restless "restless" RETRY "the application kept changing rows";
}
