//! Made-up users, their attributes, and who vouches for whom.

use rusqlite::{Connection, params};

use crate::testing::vocabulary;
use crate::testing::whiteballoon::audience::Audience;
use crate::testing::whiteballoon::maker::{Maker, Member};
use crate::testing::whiteballoon::oddities;
use crate::testing::whiteballoon::seed::{Counts, SeedError, in_table};
use crate::testing::whiteballoon::stamp::{HOUR, spell};

pub(super) fn write(maker: &mut Maker<'_>, db: &Connection, counts: &Counts) -> Result<(), SeedError> {
    users(maker, db, counts.users)?;
    attributes(maker, db, counts.user_attributes)?;
    vouches(maker, db, counts.vouches)
}

fn users(maker: &mut Maker<'_>, db: &Connection, count: u64) -> Result<(), SeedError> {
    let failed = in_table("users");
    let mut insert = db.prepare("INSERT INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6)").map_err(&failed)?;
    for index in 0..count {
        let administrator = index == 0;
        let (scope, audience) =
            if administrator { ("public", Audience::Public) } else { Audience::draw(&mut maker.random) };
        let mut name = format!("{}{}", maker.options.username_prefix, username(maker, index));
        maker.mark(audience.is_private(), '-', &mut name);
        let email = (administrator || maker.random.chance(400)).then(|| {
            let local_part = maker.secret(format!("member{index}"));
            format!("{local_part}@example.org")
        });
        let created = spell(maker.time(index, count));
        insert.execute(params![maker.id(index), name, administrator, email, created, scope]).map_err(&failed)?;
        maker.members.push(Member { audience, email });
    }
    Ok(())
}

/// The first fifty have plain first names, which two databases share; later ones carry a number.
fn username(maker: &mut Maker<'_>, index: u64) -> String {
    if let Some(name) = vocabulary::NAMES.split_whitespace().nth(index as usize) {
        return name.to_owned();
    }
    if maker.random.chance(20) {
        return format!("{}{index}", maker.random.pick(oddities::NAMES));
    }
    let separator = maker.random.pick(&["", ".", "_", "-"]);
    format!("{}{separator}{index}", maker.prose.name(&mut maker.random))
}

fn attributes(maker: &mut Maker<'_>, db: &Connection, count: u64) -> Result<(), SeedError> {
    let failed = in_table("user_attributes");
    let mut insert =
        db.prepare("INSERT INTO user_attributes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)").map_err(&failed)?;
    for index in 0..count {
        let user = index / 2;
        let private = maker.members[user as usize].audience.is_private();
        let (key, value) = if index % 2 == 0 { first_attribute(maker, user, private) } else { second(maker, private) };
        let created = maker.time(user, count.div_ceil(2));
        let updated = if maker.random.chance(200) { created + 30 * HOUR } else { created };
        let actor = maker.random.chance(700).then(|| maker.id(user));
        insert
            .execute(params![maker.id(index), maker.id(user), key, value, spell(created), spell(updated), actor])
            .map_err(&failed)?;
    }
    Ok(())
}

/// Everybody but the administrator was invited by an older member.
fn first_attribute(maker: &mut Maker<'_>, user: u64, private: bool) -> (&'static str, String) {
    if user == 0 {
        let mut name = "Organiser".to_owned();
        maker.mark(private, ' ', &mut name);
        return ("signal_display_name:organisers", name);
    }
    let inviter = maker.random.below(user);
    ("invited_by_user_id", maker.id(inviter).to_string())
}

/// One more, of the kinds that travel and of those that never do.
fn second(maker: &mut Maker<'_>, private: bool) -> (&'static str, String) {
    match maker.random.below(100) {
        0..30 => {
            let mut name = maker.prose.name(&mut maker.random).to_uppercase();
            maker.mark(private, ' ', &mut name);
            ("signal_display_name:neighbours", name)
        }
        30..50 => ("profile_photo_url", photo(maker, private)),
        50..80 => {
            let token = maker.hex(6);
            ("invite_token_used", maker.secret(token))
        }
        80..85 => ("peer_auth_reviewer", maker.secret("true".to_owned())),
        85..95 => ("ui_hide_captions", maker.secret("true".to_owned())),
        _ => ("ui_caption_dismissals", maker.secret("[\"welcome\"]".to_owned())),
    }
}

fn photo(maker: &mut Maker<'_>, private: bool) -> String {
    let mut url = format!("/static/uploads/profile_photos/{}.jpg", maker.hex(32));
    maker.mark(private, '?', &mut url);
    url
}

fn vouches(maker: &mut Maker<'_>, db: &Connection, count: u64) -> Result<(), SeedError> {
    let failed = in_table("vouches");
    let mut insert = db.prepare("INSERT INTO vouches VALUES (?1, ?2, ?3, ?4, ?5)").map_err(&failed)?;
    let members = maker.members.len() as u64;
    for index in 0..count {
        // The distance grows by one with each round through the members, so no pair comes twice.
        let voucher = index % members;
        let subject = (voucher + 1 + index / members) % members;
        assert_ne!(voucher, subject, "more vouches than pairs of members");
        let audience = |user: u64| maker.members[user as usize].audience;
        let private = audience(voucher).min(audience(subject)).is_private();
        let signature = maker.random.chance(300).then(|| {
            let mut signature = maker.hex(32);
            maker.mark(private, '-', &mut signature);
            signature
        });
        let created = spell(maker.time(index, count));
        insert
            .execute(params![maker.id(index), maker.id(voucher), maker.id(subject), signature, created])
            .map_err(&failed)?;
    }
    Ok(())
}
