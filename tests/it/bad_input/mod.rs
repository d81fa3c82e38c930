//! Bad input, given to the real program as people and strangers give it.
//!
//! Each is one clear line and a hint on standard error and the exit code of its kind; nothing is left behind and
//! nothing is lost. Where each is tested, besides the parsers' own tests and `tests/fuzz`:
//!
//! | what | where |
//! |---|---|
//! | truncated, overlapping, gigantic-header, duplicate-key, wrong-dtype, zero-byte safetensors | [`files`], `library` |
//! | a type that nothing computes with, megabytes of words, pipes and devices, names that are no text | [`files`] |
//! | a pickle, by any name | [`files`] |
//! | a folder without `model_index.json`, or with one that lies | [`files`], `library` |
//! | a file of placement cases that is no JSON, is endless, or asks for too much | `cli_plan`, `placement` |
//! | an SDXL file where SD1.5 runs | [`files`], `library` |
//! | sizes not divisible by 8, `--steps 0`, other numbers and texts out of range | [`words`], `cli`, `protocol` |
//! | arguments, variables and folders that are not UTF-8 | [`words`], `cli` |
//! | an unwritable output folder, before and after the job was taken | [`surroundings`], `cli`, `queue` |
//! | a full disk while a picture is saved; while the ledger is written | [`surroundings`]; `supervision` |
//! | two daemons, started one after the other and at once | [`surroundings`], `cli` |
//! | a socket, or its folder, of somebody else | [`surroundings`], `cli` |
//! | a frame of 4 GiB, from client, daemon and engine | [`surroundings`], `protocol` |

mod files;
mod words;
mod surroundings;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::support::daemon::Home;

/// What a home was like before it was given bad input.
struct Before {
    tree: BTreeSet<PathBuf>,
    pid: u32,
}

impl Before {
    fn of(home: &Home) -> Self {
        Self { pid: home.talk().status().daemon.pid, tree: home.tree() }
    }

    /// The same daemon is there, no job was taken, and no file has come or gone.
    #[track_caller]
    fn holds(&self, home: &Home) {
        let mut talk = home.talk();
        let status = talk.status();
        assert_eq!((status.daemon.pid, status.queue.running), (self.pid, 0));
        assert_eq!(talk.listed(), [""; 0]);
        assert_eq!(home.tree(), self.tree);
    }
}
