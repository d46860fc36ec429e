//! What takes part in a reload, and in which order.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use super::*;
use crate::conf::Flags;
use crate::edge::{Edge, Stores};
use crate::shed::Shed;
use crate::store::pack::mounts::Mounts;

/// A part that writes down what it is asked, and refuses or panics by the name that the conf gives the edge.
struct Witness(Arc<Mutex<Vec<String>>>);

impl Witness {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }
}

impl Part for Witness {
    fn begin(&mut self) {
        self.note("begin");
    }

    fn prepare(&mut self, conf: &Conf) -> Result<(), String> {
        self.note(format!("prepare {}", conf.edge.fill.name));
        match conf.edge.fill.name.as_str() {
            "refused" => Err("no certificate".into()),
            "panics" => panic!("as it should in this test"),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, conf: &Conf) {
        self.note(format!("commit {}", conf.edge.fill.name));
    }

    fn end(&mut self, reloaded: bool) {
        self.note(format!("end {reloaded}"));
    }
}

fn reloading(file: &Path, part: Witness) -> Reloading {
    let sources = Sources::new(Some(file), Flags::default());
    let running = sources.load().unwrap();
    let cas = Arc::new(Cas::open(&running.edge.cas).unwrap());
    let all = Arc::default();
    let (lives, _filling) = Lives::new(&running, &cas, &all, std::time::Duration::ZERO);
    let bound = running.edge.bind[0].addr;
    let settings = Arc::new(Settings::new(&running.edge, bound).unwrap());
    let mounts = Arc::new(Mounts::open(&[], None).unwrap());
    let first = Now::new(settings, mounts, Arc::new(live::table(&running)), None, None);
    let generations =
        Edge::new(first, Stores::new(cas.clone(), 0), Arc::new(Shed::new(&running.edge.ingress.shed))).generations();
    let purger = Arc::new(Purger::new(None, cas.clone(), all));
    let parts: Vec<Box<dyn Part>> = vec![Box::new(part)];
    let hurry = Arc::default();
    Reloading { sources, running, bound, generations, lives, cas, purger, hurry, parts }
}

#[test]
fn a_part_prepares_before_anything_is_in_force_and_commits_only_what_all_agree_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("svc-edge.yaml");
    let write = |name: &str| {
        std::fs::write(&file, format!("edge: {{fill: {{name: {name}}}, cas: {{store: memory}}}}")).unwrap();
    };
    write("first");
    let noted = Arc::new(Mutex::new(Vec::new()));
    let mut work = reloading(&file, Witness(noted.clone()));
    let mut reload = |name: &str| {
        write(name);
        work.reload();
        let told = std::mem::take(&mut *noted.lock().unwrap()).join(", ");
        (told, work.generations.now().settings.name.clone())
    };
    assert_eq!(reload("second"), ("begin, prepare second, commit second, end true".into(), "second".into()));
    assert_eq!(reload("refused"), ("begin, prepare refused, end false".into(), "second".into()));
    assert_eq!(reload("panics"), ("begin, prepare panics, end false".into(), "second".into()));
    assert_eq!(reload("\"no token\""), ("begin, end false".into(), "second".into()), "wrong by itself");
    // Also where no key changed: what a key names may have.
    assert_eq!(reload("second"), ("begin, prepare second, commit second, end true".into(), "second".into()));
}
