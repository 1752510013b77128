//! How the bookkeeping spells whom a row is for.

use crate::id::name::ScopeName;
use crate::scope::audience::{Audience, Reason};

/// Spells an audience for the map: a scope's name, or `!` and a reason.
pub(super) fn audience_text(audience: &Audience) -> &str {
    match audience {
        Audience::Shared(scope) => scope.as_str(),
        Audience::Private(Reason::Chosen) => "!chosen",
        Audience::Private(Reason::UnknownScope) => "!unknown",
        Audience::Private(Reason::Filtered) => "!filtered",
        Audience::Private(Reason::Parent) => "!parent",
        Audience::Private(Reason::SoftDeleted) => "!deleted",
        Audience::Private(Reason::Withheld) => "!withheld",
    }
}

/// Reads what `audience_text` spells; anything else is private.
pub(super) fn audience_of(text: &str) -> Audience {
    match text {
        "public" => Audience::Shared(ScopeName::public()),
        "trusted" => Audience::Shared(ScopeName::trusted()),
        "!chosen" => Audience::Private(Reason::Chosen),
        "!filtered" => Audience::Private(Reason::Filtered),
        "!parent" => Audience::Private(Reason::Parent),
        "!deleted" => Audience::Private(Reason::SoftDeleted),
        "!withheld" => Audience::Private(Reason::Withheld),
        _ => ScopeName::new(text).map_or(Audience::Private(Reason::UnknownScope), Audience::Shared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_are_read_as_they_are_spelled() {
        use Reason::*;
        let private = [Chosen, UnknownScope, Filtered, Parent, SoftDeleted, Withheld].map(Audience::Private);
        let shared = [ScopeName::public(), ScopeName::trusted()].map(Audience::Shared);
        for audience in private.iter().chain(&shared) {
            assert_eq!(audience_of(audience_text(audience)), *audience);
        }
    }
}
