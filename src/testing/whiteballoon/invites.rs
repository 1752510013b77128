//! Made-up invitations and the personal words that go with some of them.

use rusqlite::{Connection, params};

use crate::testing::whiteballoon::audience::Audience;
use crate::testing::whiteballoon::maker::Maker;
use crate::testing::whiteballoon::seed::{Counts, SeedError, in_table};
use crate::testing::whiteballoon::stamp::{HOUR, spell};

pub(super) fn write(maker: &mut Maker<'_>, db: &Connection, counts: &Counts) -> Result<(), SeedError> {
    let failed = in_table("invite_tokens");
    let mut insert = db
        .prepare("INSERT INTO invite_tokens VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")
        .map_err(&failed)?;
    let mut personalize =
        db.prepare("INSERT INTO invite_personalizations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)").map_err(&failed)?;
    for index in 0..counts.invites {
        let (scope, audience) = Audience::draw(&mut maker.random);
        let private = audience.is_private();
        let token = token(maker, index);
        let author = (!maker.random.chance(50)).then(|| maker.member(index, counts.invites));
        let author = author.map(|author| maker.id(author));
        let created = maker.time(index, counts.invites);
        let expires = maker.random.chance(600).then(|| spell(created + 14 * 24 * HOUR));
        let max_uses = 1 + maker.random.below(3) as u32;
        let use_count = maker.random.below(u64::from(max_uses) + 1) as u32;
        let (disabled, auto_approve) = (maker.random.chance(100), maker.random.chance(900));
        let suggested_username = maker.random.chance(300).then(|| {
            let mut name = maker.prose.name(&mut maker.random).to_owned();
            maker.mark(private, '-', &mut name);
            name
        });
        let suggested_bio = maker.random.chance(200).then(|| maker.sentence(private));
        insert
            .execute(params![
                token,
                author,
                spell(created),
                expires,
                max_uses,
                use_count,
                disabled,
                auto_approve,
                suggested_username,
                suggested_bio,
                scope
            ])
            .map_err(&failed)?;

        if index < counts.personalizations {
            // A path on this machine, of no use anywhere else.
            let photo = maker.random.chance(300).then(|| {
                let file = maker.hex(8);
                format!("/static/uploads/invite_photos/{}.jpg", maker.secret(file))
            });
            let [thanks, support, examples] = [(); 3].map(|()| maker.sentence(private));
            let fun = maker.random.chance(500).then(|| maker.sentence(private));
            personalize
                .execute(params![token, photo, thanks, support, examples, fun, spell(created + HOUR / 60)])
                .map_err(in_table("invite_personalizations"))?;
        }
    }
    Ok(())
}

/// Six hexadecimal digits, unlike for each index: multiplying by an odd number permutes 24 bits.
fn token(maker: &mut Maker<'_>, index: u64) -> String {
    assert!(index < 1 << 24, "there are no more tokens of six digits");
    let token = format!("{:06x}", ((index * 0x9e_3779).wrapping_add(maker.options.seed)) & 0xff_ffff);
    maker.secret(token)
}
