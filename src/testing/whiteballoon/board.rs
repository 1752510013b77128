//! Made-up requests and the comments under them, in the order in which they were posted.

use rusqlite::{Connection, Statement, params};

use crate::testing::whiteballoon::audience::Audience;
use crate::testing::whiteballoon::maker::Maker;
use crate::testing::whiteballoon::seed::{Counts, SeedError, in_table};
use crate::testing::whiteballoon::stamp::{HOUR, spell};

pub(super) fn write(maker: &mut Maker<'_>, db: &Connection, counts: &Counts) -> Result<(), SeedError> {
    let mut board = Board::new(db, *counts)?;
    let comments_before = |request: u64| request * counts.comments / counts.requests;
    for request in 0..counts.requests {
        let created = board.request(maker, request)?;
        for comment in comments_before(request)..comments_before(request + 1) {
            board.comment(maker, comment, created)?;
        }
    }
    Ok(())
}

struct Board<'db> {
    counts: Counts,
    posts: Vec<Post>,
    promotions: u64,
    request_attributes: u64,
    comment_attributes: u64,
    request: Statement<'db>,
    comment: Statement<'db>,
    promotion: Statement<'db>,
    request_attribute: Statement<'db>,
    comment_attribute: Statement<'db>,
}

/// A request, as its comments need to know it.
#[derive(Clone, Copy)]
struct Post {
    audience: Audience,
    draft: bool,
}

impl<'db> Board<'db> {
    fn new(db: &'db Connection, counts: Counts) -> Result<Self, SeedError> {
        let prepare = |table, sql| db.prepare(sql).map_err(in_table(table));
        Ok(Self {
            counts,
            posts: Vec::new(),
            promotions: 0,
            request_attributes: 0,
            comment_attributes: 0,
            request: prepare(
                "help_requests",
                "INSERT INTO help_requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
            comment: prepare("request_comments", "INSERT INTO request_comments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?,
            promotion: prepare("comment_promotions", "INSERT INTO comment_promotions VALUES (?1, ?2, ?3, ?4, ?5)")?,
            request_attribute: prepare(
                "request_attributes",
                "INSERT INTO request_attributes VALUES (?1, ?2, 'pin', ?3, ?4, ?4, ?5, ?5)",
            )?,
            comment_attribute: prepare(
                "comment_attributes",
                "INSERT INTO comment_attributes VALUES (?1, ?2, 'promotion_queue', ?3, ?4, ?4, NULL, NULL)",
            )?,
        })
    }

    /// Writes request number `index` and returns when it was posted.
    fn request(&mut self, maker: &mut Maker<'_>, index: u64) -> Result<i64, SeedError> {
        // The first is open to all, so that every comment finds a request to stand under.
        let status = if index == 0 { "open" } else { draw_status(maker) };
        let (scope, own) = if index == 0 { ("public", Audience::Public) } else { Audience::draw(&mut maker.random) };
        let shown = matches!(status, "open" | "completed");
        let audience = if shown { own } else { Audience::Private };
        let private = audience.is_private();

        let title = maker.random.chance(600).then(|| {
            let mut title = String::new();
            maker.prose.title(&mut maker.random, &mut title);
            maker.mark(private, ' ', &mut title);
            title
        });
        let mut description = String::new();
        let bytes = 120 + maker.random.below(900) as usize;
        maker.body(bytes, private, &mut description);

        let author = (!maker.random.chance(30)).then(|| maker.member(index, self.counts.requests));
        // The application fills in the author's address, whether or not they show it.
        let email = author.and_then(|author| maker.members[author as usize].email.clone());
        let author = author.map(|author| maker.id(author));
        let created = maker.time(index, self.counts.requests);
        let completed =
            (status == "completed").then(|| created + HOUR + maker.random.below(20 * 24 * HOUR as u64) as i64);
        let updated = match completed {
            Some(completed) => completed,
            None if maker.random.chance(400) => created + maker.random.below(48 * HOUR as u64) as i64,
            None => created,
        };
        let id = maker.id(index);
        self.request
            .execute(params![
                id,
                title,
                description,
                status,
                email,
                author,
                spell(created),
                spell(updated),
                completed.map(spell),
                scope
            ])
            .map_err(in_table("help_requests"))?;
        self.posts.push(Post { audience, draft: status == "draft" });

        if shown && maker.random.chance(3) {
            let admin = maker.id(0);
            let pinned_at = spell(created).replace(' ', "T");
            let value = format!("{{\"rank\": 1, \"pinned_by\": {admin}, \"pinned_at\": \"{pinned_at}\"}}");
            self.request_attribute
                .execute(params![maker.id(self.request_attributes), id, value, spell(created), admin])
                .map_err(in_table("request_attributes"))?;
            self.request_attributes += 1;
        }
        Ok(created)
    }

    /// Writes comment number `index` under one of the latest requests, after `posted`.
    fn comment(&mut self, maker: &mut Maker<'_>, index: u64, posted: i64) -> Result<(), SeedError> {
        let newest = self.posts.len() as u64 - 1;
        let reach = 1 + maker.random.below(64);
        let mut request = newest.saturating_sub(maker.random.below(reach));
        while self.posts[request as usize].draft {
            request -= 1;
        }
        let (scope, own) = Audience::draw(&mut maker.random);
        let deleted = maker.random.chance(30);
        let capped = own.min(self.posts[request as usize].audience);
        let private = deleted || capped.is_private();
        let mut body = String::new();
        let longest = 40 + maker.random.below(500);
        let bytes = 15 + maker.random.below(longest) as usize;
        maker.body(bytes, private, &mut body);

        let author = maker.member(index, self.counts.comments);
        let created = posted + 1 + maker.random.below(HOUR as u64) as i64;
        let deleted_at = deleted.then(|| spell(created + 1 + maker.random.below(72 * HOUR as u64) as i64));
        let id = maker.id(index);
        self.comment
            .execute(params![id, maker.id(request), maker.id(author), body, spell(created), deleted_at, scope])
            .map_err(in_table("request_comments"))?;

        if maker.random.chance(5) {
            let mut reason = "asks for help".to_owned();
            maker.mark(private, ' ', &mut reason);
            let value = format!(
                "{{\"status\": \"pending\", \"reason\": \"{reason}\", \"run_id\": \"run{index}\", \"attempts\": 0}}"
            );
            self.comment_attribute
                .execute(params![maker.id(self.comment_attributes), id, value, spell(created)])
                .map_err(in_table("comment_attributes"))?;
            self.comment_attributes += 1;
        }
        if maker.random.chance(2) {
            self.promotion
                .execute(params![maker.id(self.promotions), id, maker.id(newest), maker.id(0), spell(created + HOUR)])
                .map_err(in_table("comment_promotions"))?;
            self.promotions += 1;
        }
        Ok(())
    }
}

fn draw_status(maker: &mut Maker<'_>) -> &'static str {
    match maker.random.below(100) {
        0..55 => "open",
        55..88 => "completed",
        88..93 => "pending",
        _ => "draft",
    }
}
