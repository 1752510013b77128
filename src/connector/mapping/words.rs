//! What the names of columns and tables sound like. Names are only a hint: what sounds secret is left out until somebody
//! says otherwise, and nothing is shared because of its name.

/// What a column sounds like that is rarely meant for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// Something that opens doors, or a right.
    Secret(&'static str),
    /// Something about a person.
    Personal(&'static str),
}

impl Sound {
    /// Says what it sounds like.
    pub fn what(self) -> &'static str {
        match self {
            Self::Secret(what) | Self::Personal(what) => what,
        }
    }
}

/// Tells what a column's name sounds like.
pub fn sound(name: &str) -> Option<Sound> {
    let words = words(name);
    let is = |wanted: &str| match wanted.split_once('_') {
        Some((first, second)) => words.windows(2).any(|pair| pair[0] == first && is_word(&pair[1], second)),
        None => words.iter().any(|word| word == wanted),
    };
    SOUNDS.iter().find(|(wanted, _)| is(wanted)).map(|(_, sound)| *sound)
}

/// Tells whether a word is another one, or several of it: `recovery_codes`. Alone several are a count, as in `tokens_used`.
fn is_word(word: &str, wanted: &str) -> bool {
    word == wanted || singular(word) == wanted
}

/// Cuts a name into words, in lower case: `passwordHash` and `PASSWORD_HASH` have two.
pub fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (was_lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("it begins with one").extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Tells why a table holds nothing that others could want; `None` if it may.
pub fn chore(table: &str) -> Option<&'static str> {
    let words = words(table);
    let joined = words.join("_");
    if MIGRATIONS.contains(&joined.as_str()) || words.last().is_some_and(|word| word.starts_with("migration")) {
        return Some("it notes which migrations were run");
    }
    let word = words.iter().find_map(|word| CHORES.iter().find(|(chores, _)| chores.contains(&word.as_str())));
    word.map(|(_, why)| *why)
}

/// Tells whether rows of a table are people, by its last word.
pub fn are_people(table: &str) -> bool {
    let words = words(table);
    words.last().is_some_and(|word| {
        let one = word.strip_suffix('s').unwrap_or(word);
        ["user", "member", "account", "person", "people", "author", "profile"].contains(&one)
    })
}

/// Tells whether rows of a table are words that everybody has for themselves.
pub fn are_vocabulary(table: &str) -> bool {
    let words = words(table);
    words.last().is_some_and(|word| {
        let one = word.strip_suffix("ies").map(|stem| format!("{stem}y"));
        let one = one.as_deref().or(word.strip_suffix('s')).unwrap_or(word);
        ["tag", "label", "category", "topic", "keyword", "genre", "language", "country", "currency"].contains(&one)
    })
}

/// Tells whether a reference to a person says who speaks.
pub fn speaks(column: &str) -> bool {
    let words = words(column);
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !matches!(*word, "id" | "uuid")).collect();
    matches!(
        words[..],
        ["user" | "member" | "account" | "person" | "profile"] | ["created", "by", ..] | ["posted", "by", ..]
    ) || words.iter().any(|word| ["author", "owner", "creator", "poster", "sender", "writer"].contains(word))
}

/// Tells whether a column's name says that it holds the key of a row of a table: `user_id`, `created_by_user_id` of `users`.
pub fn names_row_of(column: &str, table: &str) -> bool {
    let (column, mut table) = (words(column), words(table));
    let Some(last) = table.pop() else { return false };
    table.push(singular(&last));
    match column.split_last() {
        Some((end, stem)) if matches!(end.as_str(), "id" | "uuid" | "fk") => !stem.is_empty() && stem.ends_with(&table),
        _ => false,
    }
}

/// Tells whether a column says what kind of row another refers to: `about_type` of `about_id`.
pub fn names_type_of(column: &str, reference: &str) -> bool {
    let (column, reference) = (words(column), words(reference));
    match (column.split_last(), reference.split_last()) {
        (Some((kind, of)), Some((end, stem))) => {
            matches!(kind.as_str(), "type" | "kind")
                && matches!(end.as_str(), "id" | "uuid")
                && of == stem
                && !of.is_empty()
        }
        _ => false,
    }
}

fn singular(word: &str) -> String {
    if word == "people" {
        return "person".to_owned();
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let sibilant = ["ses", "xes", "ches", "shes"].iter().any(|end| word.ends_with(end));
    word.strip_suffix(if sibilant { "es" } else { "s" }).unwrap_or(word).to_owned()
}

/// Tells whether a column says when a row was made.
pub fn is_birth(column: &str) -> bool {
    matches!(
        words(column).join("_").as_str(),
        "created"
            | "created_at"
            | "created_on"
            | "inserted_at"
            | "date_created"
            | "creation_date"
            | "joined_at"
            | "date_joined"
    )
}

/// Tells whether a column says that the application deleted the row.
pub fn is_deletion(column: &str) -> bool {
    matches!(words(column).join("_").as_str(), "deleted_at" | "deleted_on" | "date_deleted" | "removed_at")
}

/// Tells whether a column may say for whom a row is meant.
pub fn is_audience(column: &str) -> bool {
    matches!(words(column).join("_").as_str(), "sync_scope" | "scope" | "visibility" | "audience" | "privacy")
}

const fn secret(word: &'static str, what: &'static str) -> (&'static str, Sound) {
    (word, Sound::Secret(what))
}

const fn personal(word: &'static str, what: &'static str) -> (&'static str, Sound) {
    (word, Sound::Personal(what))
}

/// A personal address.
const ADDRESS: &str = "personal address";
/// Where a person is.
const PLACE: &str = "person's place";

/// Words of column names that are rarely meant for others.
const SOUNDS: [(&str, Sound); 99] = [
    secret("password", "password"),
    secret("passwd", "password"),
    secret("passphrase", "password"),
    secret("pwd", "password"),
    secret("secret", "secret"),
    secret("token", "bearer secret"),
    secret("apikey", "bearer secret"),
    secret("api_key", "bearer secret"),
    secret("private_key", "secret key"),
    secret("signing_key", "secret key"),
    secret("session", "bearer secret"),
    secret("cookie", "bearer secret"),
    secret("salt", "password's salt"),
    secret("hash", "password's hash"),
    secret("digest", "password's hash"),
    secret("otp", "one-time password"),
    secret("totp", "one-time password"),
    secret("mfa", "one-time password"),
    secret("pin", "secret number"),
    secret("verification_code", "one-time password"),
    secret("recovery_code", "one-time password"),
    secret("credential", "secret"),
    secret("credentials", "secret"),
    secret("passwords", "password"),
    secret("secrets", "secret"),
    secret("roles", "right"),
    secret("permissions", "right"),
    secret("privileges", "right"),
    secret("admin", "right"),
    secret("superuser", "right"),
    secret("staff", "right"),
    secret("iban", "bank account"),
    secret("ssn", "personal number"),
    secret("pw", "password"),
    secret("pass", "password"),
    secret("passwort", "password"),
    secret("kennwort", "password"),
    secret("passcode", "password"),
    secret("cvv", "bank card"),
    secret("cvc", "bank card"),
    secret("credit_card", "bank card"),
    secret("card_number", "bank card"),
    secret("backup_code", "one-time password"),
    secret("reset_code", "one-time password"),
    secret("activation_code", "one-time password"),
    secret("confirmation_code", "one-time password"),
    secret("magic_link", "bearer secret"),
    secret("share_link", "bearer secret"),
    secret("invite_code", "bearer secret"),
    secret("edit_url", "bearer secret"),
    secret("share_url", "bearer secret"),
    secret("webhook", "bearer secret"),
    secret("activation_key", "bearer secret"),
    secret("unsubscribe_key", "bearer secret"),
    secret("feed_key", "bearer secret"),
    secret("access_key", "bearer secret"),
    secret("access_code", "bearer secret"),
    secret("jwt", "bearer secret"),
    secret("csrf", "bearer secret"),
    secret("nonce", "bearer secret"),
    secret("oauth", "bearer secret"),
    secret("auth", "bearer secret"),
    secret("ssh_key", "secret key"),
    secret("pgp_key", "secret key"),
    secret("gpg_key", "secret key"),
    secret("seed", "secret key"),
    secret("mnemonic", "secret key"),
    secret("wallet", "secret key"),
    secret("role", "right"),
    secret("permission", "right"),
    secret("privilege", "right"),
    secret("passport", "personal number"),
    secret("tax_id", "personal number"),
    personal("email", ADDRESS),
    personal("tel", ADDRESS),
    personal("telephone", ADDRESS),
    personal("fax", ADDRESS),
    personal("street", ADDRESS),
    personal("postcode", ADDRESS),
    personal("zip", ADDRESS),
    personal("lat", PLACE),
    personal("lon", PLACE),
    personal("lng", PLACE),
    personal("latitude", PLACE),
    personal("longitude", PLACE),
    personal("dob", "person's age"),
    personal("salary", "person's income"),
    personal("income", "person's income"),
    personal("mail", ADDRESS),
    personal("phone", ADDRESS),
    personal("mobile", ADDRESS),
    personal("ip", ADDRESS),
    personal("ip_address", ADDRESS),
    personal("address", ADDRESS),
    personal("user_agent", "person's device"),
    personal("birthday", "person's age"),
    personal("birthdate", "person's age"),
    personal("birth_date", "person's age"),
    personal("last_login", "person's habit"),
];

/// Tables in which the tools of many frameworks note their migrations.
const MIGRATIONS: [&str; 12] = [
    "alembic_version",
    "ar_internal_metadata",
    "flyway_schema_history",
    "goose_db_version",
    "knex_migrations_lock",
    "refinery_schema_history",
    "schema_info",
    "schema_version",
    "sequelize_meta",
    "databasechangelog",
    "databasechangeloglock",
    "django_content_type",
];

/// Words of tables that serve one installation, and why they stay.
const CHORES: [(&[&str], &str); 4] = [
    (
        &[
            "session",
            "sessions",
            "token",
            "tokens",
            "password",
            "passwords",
            "credential",
            "credentials",
            "secret",
            "secrets",
            "otp",
            "oauth",
        ],
        "it sounds like secrets of this installation",
    ),
    (&["cache", "caches", "cached"], "it sounds like a cache"),
    (
        &["job", "jobs", "queue", "queues", "lock", "locks", "schedule", "schedules", "outbox"],
        "it sounds like work of this installation",
    ),
    (&["log", "logs", "audit", "audits", "history"], "it sounds like a log of this installation"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_sound_secret_are_named() {
        assert_eq!(sound("password"), Some(Sound::Secret("password")));
        assert_eq!(sound("passwordHash").map(Sound::what), Some("password"));
        assert_eq!(sound("contact_email"), Some(Sound::Personal(ADDRESS)));
        assert_eq!(sound("API_KEY").map(Sound::what), Some("bearer secret"));
        for right in ["is_admin", "roles", "user_role"] {
            assert_eq!(sound(right).map(Sound::what), Some("right"), "{right}");
        }
        for secret in ["pw", "recovery_codes", "ssh_key", "magicLink", "oauth_id", "card_number"] {
            assert!(matches!(sound(secret), Some(Sound::Secret(_))), "{secret}");
        }
        for fine in ["title", "hashtag", "pinned", "tokens_used", "key", "mailbox", "created_at", "tips"] {
            assert_eq!(sound(fine), None, "{fine}");
        }
    }

    #[test]
    fn names_say_what_refers_to_what() {
        for (column, table) in [
            ("user_id", "users"),
            ("created_by_user_id", "users"),
            ("CustomerID", "Customer"),
            ("category_id", "categories"),
            ("person_id", "people"),
            ("box_id", "boxes"),
            ("blog_post_id", "blog_posts"),
        ] {
            assert!(names_row_of(column, table), "{column} {table}");
        }
        for (column, table) in [("id", "ids"), ("user", "users"), ("paid", "pas"), ("user_id", "posts"), ("uid", "us")]
        {
            assert!(!names_row_of(column, table), "{column} {table}");
        }
        assert!(names_type_of("about_type", "about_id") && names_type_of("commentableType", "commentable_id"));
        assert!(!names_type_of("type", "id") && !names_type_of("about_type", "post_id"));
    }

    #[test]
    fn tables_that_serve_one_installation_are_told_from_others() {
        for table in [
            "alembic_version",
            "django_migrations",
            "schema_migrations",
            "__diesel_schema_migrations",
            "_prisma_migrations",
        ] {
            assert_eq!(chore(table), Some("it notes which migrations were run"), "{table}");
        }
        for table in ["user_sessions", "inviteTokens", "search_cache", "jobs", "audit_log"] {
            assert!(chore(table).is_some(), "{table}");
        }
        for table in ["posts", "blog", "users", "locksmiths"] {
            assert_eq!(chore(table), None, "{table}");
        }
        assert!(are_people("auth_users") && are_people("People") && !are_people("user_posts"));
        assert!(are_vocabulary("tags") && are_vocabulary("Categories") && !are_vocabulary("post_tags_used"));
        assert!(
            speaks("author_id") && speaks("user_id") && speaks("created_by_user_id") && !speaks("reviewed_by_user_id")
        );
    }
}
