//! Serves a batch of active learning, with a page to correct it.
//!
//! | path | what |
//! |---|---|
//! | `GET /v1/batch` | the items with their texts, the types, and each annotator's progress |
//! | `GET /v1/annotators/NAME` | one annotator's state of the batch |
//! | `POST /v1/annotators/NAME/actions` | `{"after": 7, "item": "a.s1", "do": "accept", "mention": {"start": 0, "end": 7, "label": "Drug"}}`: applies and saves an action |
//! | `GET /v1/agreement` | agreement between annotators, and their differences |
//!
//! See [`Action`] for the actions; the server decides what `undo` reverts. `after` is the number of the last action
//! that the client has seen from its annotator: if another window was faster, the response is 409 and nothing changes.
//! The server responds after saving an action, and reverts it if saving fails.

use crate::budget::Budget;
use crate::hosts;
use crate::options::{ServeError, ServerOptions};
use crate::page::{self, CORRECT_FILES};
use crate::problem::{Kind, Problem};
use crate::routes::{finish, is_allowed, json_response, method_name, off_the_network, read_json, sent};
use crate::server::{Door, Stopper};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::Response;
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use ner_active::correct::{ADJUDICATED, Action, Record, Work, agreement, check_name, merged};
use ner_data::Document;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tracing::{error, info};

/// Form of every path, and whether it requires the token, if one is set.
const ROUTES: [(&str, bool); 8] = [
    ("/v1/batch", true),
    ("/v1/annotators/{name}", true),
    ("/v1/annotators/{name}/actions", true),
    ("/v1/agreement", true),
    ("/", false),
    ("/correct.js", false),
    ("/correct.css", false),
    ("/page.css", false),
];

/// Saves an annotator's records, all or none, and returns once they are on disk.
pub type Save = Box<dyn FnMut(&str, &[Record]) -> std::io::Result<()> + Send>;

/// A batch and its annotators' work.
pub struct Desk {
    /// The batch as exported.
    pub documents: Vec<Document>,
    /// Further data of each item for the page: `rank`, `score`, `document`, `start`.
    pub reasons: Vec<Value>,
    /// Name of the batch on the page.
    pub title: String,
    /// Types to choose from, before anyone adds one.
    pub types: Vec<String>,
    /// Each annotator's work so far.
    pub works: BTreeMap<String, Work>,
    /// Saves actions.
    pub save: Save,
    /// The current time, recorded with each action.
    pub now: fn() -> String,
}

/// A listening correction server.
pub struct CorrectionServer {
    door: Door,
    desk: Desk,
}

struct Shared {
    options: ServerOptions,
    bytes: Arc<Budget>,
    is_ending: AtomicBool,
    saved: AtomicU64,
    documents: Vec<Document>,
    title: String,
    reasons: Vec<Value>,
    types: Vec<String>,
    now: fn() -> String,
    table: Mutex<Table>,
}

/// The mutable state.
struct Table {
    works: BTreeMap<String, Work>,
    save: Save,
}

impl CorrectionServer {
    /// Starts listening. Connections are accepted once it [runs](Self::run).
    ///
    /// # Errors
    /// If the address is unavailable, or is reachable from other machines without a token.
    pub fn bind(desk: Desk, address: SocketAddr, options: ServerOptions) -> Result<Self, ServeError> {
        Ok(Self { door: Door::bind(address, options)?, desk })
    }

    /// Its address.
    pub const fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// A handle to stop the server.
    pub fn stopper(&self) -> Stopper {
        self.door.stopper()
    }

    /// Serves until stopped, and answers all accepted requests. Returns the number of saved actions.
    ///
    /// # Errors
    /// If threads cannot be created.
    pub fn run(self) -> Result<u64, ServeError> {
        let Self { door, desk } = self;
        let shared = Arc::new(Shared {
            bytes: Budget::new(door.options.limits.bodies),
            options: door.options.clone(),
            is_ending: AtomicBool::new(false),
            saved: AtomicU64::new(0),
            documents: desk.documents,
            title: desk.title,
            reasons: desk.reasons,
            types: desk.types,
            now: desk.now,
            table: Mutex::new(Table { works: desk.works, save: desk.save }),
        });
        door.serve(router(shared.clone()), &shared.is_ending)?;
        Ok(shared.saved.load(Ordering::Relaxed))
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/v1/batch", get(batch))
        .route("/v1/annotators/{name}", get(annotator))
        .route("/v1/annotators/{name}/actions", post(act))
        .route("/v1/agreement", get(agree));
    for (path, media_type, contents) in CORRECT_FILES {
        router = router.route(path, get(move || async move { page::file(media_type, contents) }));
    }
    router
        .fallback(|| async { Problem::new(Kind::NotFound, "the page is at /").response() })
        .layer(from_fn_with_state(shared.clone(), watch))
        .with_state(shared)
}

/// Wraps every request: authorisation, response headers, log.
async fn watch(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response<Body> {
    let begin = Instant::now();
    let method = method_name(&request);
    // Logs the form of the path: the path itself contains a name, which could be anything.
    let form = form_of(request.uri().path());
    let is_guarded = ROUTES.iter().any(|&(path, is_guarded)| path == form && is_guarded);
    let mut response = if is_guarded && !is_allowed(&shared.options, request.headers()) {
        Problem::new(Kind::Unauthorized, "send it as `Authorization: Bearer TOKEN`").response()
    } else if let Err(problem) = hosts::check(&shared.options, request.uri(), request.headers()) {
        problem.response()
    } else {
        next.run(request).await
    };
    finish(&mut response, &shared.is_ending);
    info!("{method} {form} {}, {:.1} ms", response.status().as_u16(), begin.elapsed().as_secs_f64() * 1e3);
    response
}

fn form_of(path: &str) -> &'static str {
    let fits = |form: &str| {
        let (mut parts, mut forms) = (path.split('/'), form.split('/'));
        forms.by_ref().all(|form| parts.next().is_some_and(|part| form == "{name}" || form == part))
            && parts.next().is_none()
    };
    ROUTES.iter().map(|&(form, _)| form).find(|form| fits(form)).unwrap_or("other")
}

impl Shared {
    fn table(&self) -> Result<MutexGuard<'_, Table>, Problem> {
        // After a panic during an action, the journal is more reliable than this state.
        self.table.lock().map_err(|_| Problem::new(Kind::Internal, "an action failed half-way; restart the server"))
    }
}

/// Answers with the JSON that `work` makes off the network. A batch may be large, so its bytes count until they are
/// sent.
async fn answer(
    shared: Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<Value, Problem> + Send + 'static,
) -> Response<Body> {
    let written = off_the_network(move || {
        if shared.bytes.is_full() {
            return Err(Problem::new(Kind::Overloaded, "other requests use all the memory"));
        }
        let body = work(&shared)?.to_string().into_bytes();
        let mut share = shared.bytes.share();
        share.hold(body.len());
        Ok((body, share))
    });
    match written.await {
        Ok((body, share)) => json_response(sent(body, share)),
        Err(problem) => problem.response(),
    }
}

fn named(name: &str) -> Result<(), Problem> {
    let detail = "a name has 1 to 40 characters: a to z, digits, - and _; it does not begin with -";
    if check_name(name) { Ok(()) } else { Err(Problem::new(Kind::Invalid, detail)) }
}

async fn batch(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer(shared, |shared| {
        let table = shared.table()?;
        let item = |(document, reason): (&Document, &Value)| {
            let mut item = json!({ "id": document.id, "text": document.text });
            if let (Some(item), Some(reason)) = (item.as_object_mut(), reason.as_object()) {
                item.extend(reason.clone());
            }
            item
        };
        let annotator = |(name, work): (&String, &Work)| {
            let done = work.items().iter().filter(|item| item.done).count();
            json!({ "name": name, "done": done, "actions": work.last() })
        };
        let mut types = shared.types.clone();
        for entry in table.works.values().flat_map(|work| work.items()).flat_map(|item| &item.entries) {
            if !types.contains(&entry.place.label) {
                types.push(entry.place.label.clone());
            }
        }
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "title": shared.title,
            "adjudicated": ADJUDICATED,
            "types": types,
            "annotators": table.works.iter().map(annotator).collect::<Vec<_>>(),
            "items": shared.documents.iter().zip(&shared.reasons).map(item).collect::<Vec<_>>(),
        }))
    })
    .await
}

/// An item's state for an annotator. Adjudication that has not begun: its initial state, or null if nobody finished the
/// item.
fn shown(works: &BTreeMap<String, Work>, work: &Work, name: &str, item: usize) -> Value {
    if name == ADJUDICATED && !work.has_started(item) {
        return merged(works, item).map_or(Value::Null, |entries| json!({ "done": false, "entries": entries }));
    }
    json!(*work.items()[item])
}

async fn annotator(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response<Body> {
    answer(shared, move |shared| {
        named(&name)?;
        let table = shared.table()?;
        let new = Work::new(&shared.documents, &name);
        let work = table.works.get(&name).unwrap_or(&new);
        let items: Vec<Value> =
            (0..shared.documents.len()).map(|item| shown(&table.works, work, &name, item)).collect();
        Ok(json!({ "name": name, "last": work.last(), "undo": work.undoable().map(|(item, _)| item), "items": items }))
    })
    .await
}

async fn act(State(shared): State<Arc<Shared>>, Path(name): Path<String>, request: Request) -> Response<Body> {
    let (body, bytes) = match read_json(&shared.options.limits, &shared.bytes, request).await {
        Ok(read) => read,
        Err(problem) => return problem.response(),
    };
    answer(shared, move |shared| {
        let _bytes = bytes;
        named(&name)?;
        let mut asked: Value = serde_json::from_slice(&body)
            .map_err(|error| Problem::new(Kind::Malformed, format!("invalid JSON at column {}", error.column())))?;
        let invalid = |detail: &str| Problem::new(Kind::Invalid, detail);
        let after =
            asked["after"].as_u64().ok_or_else(|| invalid("`after` must be the number of the last known action"))?;
        let mut table = shared.table()?;
        let Table { works, save } = &mut *table;
        let mut work = works.get(&name).cloned().unwrap_or_else(|| Work::new(&shared.documents, &name));
        if after != work.last() {
            let detail = format!("the last action has number {}, not {after}", work.last());
            return Err(Problem::new(Kind::Conflict, detail));
        }
        if asked["do"] == "undo" {
            let (item, of) = work.undoable().ok_or_else(|| invalid("there is nothing to undo"))?;
            asked = json!({ "item": item, "do": "undo", "of": of });
        }
        let id = asked["item"].as_str().ok_or_else(|| invalid("`item` must be the id of an item"))?.to_owned();
        let action: Action =
            serde_json::from_value(asked).map_err(|_| invalid("`do` and its fields are not a valid action"))?;
        let item = work.item_of(&id).ok_or_else(|| invalid("the batch has no such item"))?;
        let mut actions = vec![action];
        if let Action::Start { .. } = actions[0] {
            return Err(invalid("adjudication begins automatically"));
        }
        if name == ADJUDICATED && !work.has_started(item) {
            let entries = merged(works, item).ok_or_else(|| invalid("nobody has finished the item yet"))?;
            actions.insert(0, Action::Start { entries });
        }
        let mut records = Vec::new();
        for action in actions {
            let record = Record { n: work.last() + 1, at: (shared.now)(), item: id.clone(), action };
            work.apply(&record).map_err(|refusal| invalid(&refusal.to_string()))?;
            records.push(record);
        }
        save(&name, &records).map_err(|error| {
            // The message names the journal and has the system's error.
            error!("cannot save an action: {error}");
            Problem::new(Kind::Internal, "the action could not be saved and was reverted; see the server's log")
        })?;
        shared.saved.fetch_add(1, Ordering::Relaxed);
        let changed = json!({
            "last": work.last(),
            "undo": work.undoable().map(|(item, _)| item),
            "at": item,
            "item": *work.items()[item],
        });
        works.insert(name, work);
        Ok(changed)
    })
    .await
}

async fn agree(State(shared): State<Arc<Shared>>) -> Response<Body> {
    answer(shared, |shared| {
        let table = shared.table()?;
        let pairs = agreement::pairs(&shared.documents, &table.works);
        let differences = agreement::differences(&shared.documents, &table.works);
        Ok(json!({ "pairs": pairs, "items": differences }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_know_the_form_of_a_path_and_not_the_path() {
        for (path, form) in [
            ("/v1/annotators/anna", "/v1/annotators/{name}"),
            ("/v1/annotators/anna/actions", "/v1/annotators/{name}/actions"),
            ("/v1/annotators/anna/secret", "other"),
            ("/v1/batch", "/v1/batch"),
            ("/v1/batch/", "other"),
            ("/", "/"),
        ] {
            assert_eq!(form_of(path), form, "{path}");
        }
    }

    #[test]
    fn the_page_holds_nothing_that_the_policy_forbids() {
        let (html, script) = (CORRECT_FILES[0].2, CORRECT_FILES[1].2);
        for word in ["http:", "https:", "<style", " style=", " onclick", "javascript:", "data:"] {
            assert!(!html.contains(word), "{word}");
        }
        assert_eq!(html.matches("<script").count(), html.matches("<script src=\"correct.js\"").count());
        for word in ["http:", "https:", "innerHTML", "eval(", "setAttribute(\"style\""] {
            assert!(!script.contains(word), "{word}");
        }
    }
}
