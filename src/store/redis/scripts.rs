//! One script per operation.
//!
//! Each is a header, the model's constants, the parts it shares with others, and
//! its own text. Joining and admitting are refused by a full Redis before their
//! first write; what frees memory or only looks is not, or it could never drain.

use crate::domain::autotune::{HOLD, LEFT, RISE, STEP};
use crate::domain::binding::STRIKES;
use crate::domain::line::{CHUNK, FORMER, JUMP, LOG_KEPT, OUTAGE, PRUNE, REMEMBERED, SWEEP};
use crate::redis::Script;

/// What a script may do, as Redis reads it in the first line.
const REFUSED_WHEN_FULL: &str = "#!lua";
const ALLOWED_WHEN_FULL: &str = "#!lua flags=allow-oom";
const READS_ONLY: &str = "#!lua flags=no-writes";

const PRELUDE: &str = include_str!("prelude.lua");
const PLACES: &str = include_str!("places.lua");
const SIGNS: &str = include_str!("signs.lua");
const SILENCE: &str = include_str!("silence.lua");
const ARRIVE: &str = include_str!("arrive.lua");
const BOUND: &str = include_str!("bound.lua");
const SPACE: &str = include_str!("space.lua");
const REPORT: &str = include_str!("report.lua");

/// All operations.
pub(super) struct Scripts {
    pub(super) open: Script,
    pub(super) come_back: Script,
    pub(super) put_back: Script,
    pub(super) join: Script,
    pub(super) look: Script,
    pub(super) seen: Script,
    pub(super) make_room: Script,
    pub(super) admit: Script,
    pub(super) draw: Script,
    pub(super) drawn: Script,
    pub(super) end: Script,
    pub(super) extend: Script,
    pub(super) show: Script,
    pub(super) claim_again: Script,
    pub(super) hand_over: Script,
    pub(super) holder: Script,
    pub(super) log: Script,
    pub(super) hear: Script,
    pub(super) set_overrides: Script,
    pub(super) clear: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            open: script(ALLOWED_WHEN_FULL, &[PLACES, REPORT, include_str!("open.lua")]),
            come_back: script(REFUSED_WHEN_FULL, &[PLACES, SIGNS, ARRIVE, include_str!("come_back.lua")]),
            put_back: script(ALLOWED_WHEN_FULL, &[PLACES, include_str!("put_back.lua")]),
            join: script(REFUSED_WHEN_FULL, &[PLACES, SIGNS, ARRIVE, SPACE, include_str!("join.lua")]),
            look: script(ALLOWED_WHEN_FULL, &[PLACES, SIGNS, ARRIVE, include_str!("look.lua")]),
            seen: script(ALLOWED_WHEN_FULL, &[PLACES, SIGNS, include_str!("seen.lua")]),
            make_room: script(ALLOWED_WHEN_FULL, &[PLACES, SIGNS, SILENCE, include_str!("make_room.lua")]),
            admit: script(REFUSED_WHEN_FULL, &[PLACES, SPACE, REPORT, include_str!("admit.lua")]),
            draw: script(REFUSED_WHEN_FULL, &[include_str!("draw.lua")]),
            drawn: script(READS_ONLY, &[include_str!("drawn.lua")]),
            end: script(ALLOWED_WHEN_FULL, &[PLACES, include_str!("end.lua")]),
            extend: script(ALLOWED_WHEN_FULL, &[PLACES, include_str!("extend.lua")]),
            show: script(REFUSED_WHEN_FULL, &[PLACES, BOUND, include_str!("show.lua")]),
            claim_again: script(
                REFUSED_WHEN_FULL,
                &[PLACES, &format!("local STRIKES = {STRIKES}"), BOUND, include_str!("claim_again.lua")],
            ),
            hand_over: script(REFUSED_WHEN_FULL, &[PLACES, SIGNS, ARRIVE, include_str!("hand_over.lua")]),
            holder: script(READS_ONLY, &[include_str!("holder.lua")]),
            log: script(READS_ONLY, &[include_str!("log.lua")]),
            hear: script(ALLOWED_WHEN_FULL, &[&tuning(), include_str!("hear.lua")]),
            set_overrides: script(ALLOWED_WHEN_FULL, &[include_str!("set_overrides.lua")]),
            clear: script(ALLOWED_WHEN_FULL, &[include_str!("clear.lua")]),
        }
    }
}

/// The model's constants of a capacity that follows the app.
fn tuning() -> String {
    let (part, whole) = LEFT;
    let [step, hold] = [STEP, HOLD].map(|time| time.as_millis());
    format!("local STEP, HOLD, PART, WHOLE, RISE = {step}, {hold}, {part}, {whole}, {RISE}")
}

fn script(header: &str, parts: &[&str]) -> Script {
    let constants = format!(
        "local CHUNK, SWEEP, PRUNE, LOG_KEPT, FORMER = {CHUNK}, {SWEEP}, {PRUNE}, {LOG_KEPT}, {FORMER}\n\
         local REMEMBERED, JUMP, OUTAGE = {}, {}, {}",
        REMEMBERED.as_millis(),
        JUMP.as_millis(),
        OUTAGE.as_millis()
    );
    Script::new([&[header, &constants, PRELUDE], parts].concat().join("\n"))
}
