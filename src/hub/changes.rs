//! Changes since a cursor, waited for if there are none yet.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::hub::answer::{self, Answer};
use crate::hub::caller::Caller;
use crate::hub::limits::{CHANGES_PER_ANSWER, REFRESH_EVERY, WAIT_SECONDS};
use crate::hub::rates::Lasting;
use crate::hub::refusal::Refusal;
use crate::hub::service::{Hub, value};
use crate::id::bytes::InstanceId;
use crate::transport::http::wire::Changes;

/// Answers what changed, at once or when something does.
///
/// # Errors
/// `unsigned`; `malformed`; as the store fails.
pub async fn changes(hub: &Hub, caller: &Caller, query: &str) -> Result<Answer, Refusal> {
    if *caller == Caller::Anyone && !hub.options.public {
        return Err(Refusal::unsigned());
    }
    if let Some(cursor) = value(query, "resume") {
        return Ok(answer::json(&resumed(hub, caller, cursor)?));
    }
    let wait = match value(query, "wait") {
        None => 0,
        Some(text) => text.parse::<u64>().map_err(|_| Refusal::malformed("`wait` is a number of seconds"))?,
    };
    let cursor = value(query, "since");
    let mut waiting = None;
    let until = Instant::now() + Duration::from_secs(wait.min(WAIT_SECONDS));
    let mut changed = hub.changed.subscribe();
    let mut ending = hub.ending.subscribe();
    loop {
        changed.borrow_and_update();
        // In memory but for a look at the store every other second.
        let found = tokio::task::block_in_place(|| look(hub, caller, cursor))?;
        let is_over = *ending.borrow_and_update() || Instant::now() >= until;
        if !found.changes.is_empty() || is_over {
            return Ok(answer::json(&found));
        }
        if waiting.is_none() {
            waiting = Waiting::begin(hub, caller);
            if waiting.is_none() {
                return Ok(answer::json(&found));
            }
        }
        // Other processes change the store without telling.
        let soon = until.min(Instant::now() + REFRESH_EVERY);
        let _ = timeout_at(soon, async {
            tokio::select! { _ = changed.changed() => {}, _ = ending.changed() => {} }
        })
        .await;
    }
}

fn look(hub: &Hub, caller: &Caller, cursor: Option<&str>) -> Result<Changes, Refusal> {
    let catalogue = hub.catalogue()?;
    let is_seen = |path: &_| catalogue.may_see(caller, hub.options.public, path);
    let (changes, cursor, more) = catalogue.changes(cursor, CHANGES_PER_ANSWER, is_seen);
    Ok(Changes { cursor, more, changes, forgotten: false })
}

/// Answers whoever keeps what it read: what of it is out of date, or that all of it may be. Never waits.
fn resumed(hub: &Hub, caller: &Caller, cursor: &str) -> Result<Changes, Refusal> {
    let catalogue = hub.catalogue()?;
    // Whoever became a member since may see what was there before.
    let kind = caller.kind();
    let from = cursor.strip_suffix(kind).and_then(|cursor| cursor.strip_suffix('.'));
    let is_seen = |path: &_| catalogue.may_see(caller, hub.options.public, path);
    let changes = from.filter(|from| catalogue.knows(caller, from)).and_then(|from| {
        let (changes, _, more) = catalogue.changes(Some(from), CHANGES_PER_ANSWER, is_seen);
        (!more).then_some(changes)
    });
    Ok(Changes {
        cursor: format!("{}.{kind}", catalogue.now()),
        more: false,
        forgotten: changes.is_none(),
        changes: changes.unwrap_or_default(),
    })
}

/// Counts a waiting request while it waits.
struct Waiting<'a> {
    hub: &'a Hub,
    instance: InstanceId,
}

impl<'a> Waiting<'a> {
    fn begin(hub: &'a Hub, caller: &Caller) -> Option<Self> {
        // Whoever is nobody shares one count.
        let instance = caller.id().unwrap_or(InstanceId::from_bytes([0; 32]));
        hub.rates().begin(Lasting::Wait, &instance).then_some(Self { hub, instance })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.hub.rates().end(Lasting::Wait, &self.instance);
    }
}
