//! The link of a long-lived client: it comes back after every loss, and never shows half a story.

use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use perilune::client::{Gate, Handle, News, Place, follow};
use perilune::config::{Environment, Flags, Settings};
use perilune::units::JobId;
use perilune::wire::control::{Asked, Topics};
use perilune::wire::hello::HelloFrame;
use perilune::wire::{Change, Event, Hello, Limit, Reply, Request, ServerFrame, blocking};
use perilune::workflow::Kind;

use crate::support::builders::a_job;
use crate::support::daemon::Home;
use crate::support::wait::PATIENCE;

fn gate(home: &Home) -> Gate {
    let flags = Flags { home: Some(home.path().to_owned()), ..Flags::default() };
    let settings = Settings::load(&flags, &Environment::made_of(&[], "/nowhere")).unwrap();
    Gate::of(&settings, Place::Local, false, None)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits for news that a test wants; all others are passed over.
async fn hear<T>(link: &mut Handle, mut wanted: impl FnMut(News) -> Option<T>) -> T {
    let listen = async {
        loop {
            if let Some(heard) = wanted(link.news.recv().await.unwrap()) {
                return heard;
            }
        }
    };
    tokio::time::timeout(PATIENCE, listen).await.unwrap()
}

async fn snapshot(link: &mut Handle) -> usize {
    hear(link, |news| match news {
        News::Heard(event) => match event.change {
            Change::Snapshot(status) => Some(status.queue.jobs.len()),
            _ => None,
        },
        _ => None,
    })
    .await
}

#[test]
fn a_link_outlives_its_daemon() {
    let mut home = Home::with_daemon();
    runtime().block_on(async {
        let mut link = follow(gate(&home), Topics::default());
        assert!(matches!(link.news.recv().await, Some(News::Up { place }) if place == "local"));
        assert_eq!(snapshot(&mut link).await, 0);
        link.ask.send((7, Request::Submit(Box::new(a_job())))).unwrap();
        let answered = hear(&mut link, |news| if let News::Answered { id, result } = news { Some((id, result)) } else { None }).await;
        assert_eq!(answered, (7, Ok(Reply::Accepted(JobId(1)))));

        home.kill();
        let reason = hear(&mut link, |news| if let News::Down { reason, .. } = news { Some(reason) } else { None }).await;
        assert_eq!(reason.kind, Kind::NoDaemon);
        link.ask.send((8, Request::Status)).unwrap();
        let refused = hear(&mut link, |news| if let News::Answered { id: 8, result } = news { Some(result) } else { None }).await;
        assert_eq!(refused.unwrap_err().kind, Kind::NoDaemon);

        home.start();
        hear(&mut link, |news| matches!(news, News::Up { .. }).then_some(())).await;
        assert_eq!(snapshot(&mut link).await, 1);
    });
}

#[test]
fn a_daemon_that_was_stopped_is_not_started_again_and_one_that_died_is() {
    let mut home = Home::with_daemon();
    let gate = Gate { spawn: true, program: Some(env!("CARGO_BIN_EXE_perilune").into()), ..gate(&home) };
    let down = |news| if let News::Down { reason, .. } = news { Some(reason) } else { None };
    let up = |news| matches!(news, News::Up { .. }).then_some(());
    runtime().block_on(async {
        let mut link = follow(gate, Topics::default());
        hear(&mut link, up).await;
        home.run(&["stop"]).ok();
        // Twice: it has tried again, and nobody was there.
        for _ in 0..2 {
            let reason = hear(&mut link, down).await;
            assert_eq!((reason.kind, reason.message.as_str()), (Kind::NoDaemon, "the daemon was stopped"));
        }
        home.run(&["status"]).refused(3, "no daemon runs");
        // Somebody starts one, and that one dies.
        home.start();
        hear(&mut link, up).await;
        home.kill();
        hear(&mut link, down).await;
        hear(&mut link, up).await;
        drop(link);
        home.run(&["stop"]).ok();
    });
}

/// A daemon that says what a test wants it to say.
struct Actor(UnixStream);

impl Actor {
    fn greets(listener: &UnixListener) -> Self {
        let mut socket = listener.accept().unwrap().0;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        blocking::write(&mut socket, &Hello::ours(), Limit::CONTROL).unwrap();
        let HelloFrame { .. } = blocking::read(&mut socket, Limit::CONTROL).unwrap().unwrap();
        Self(socket)
    }

    fn hears_a_subscription(&mut self) {
        let asked: Asked = blocking::read(&mut self.0, Limit::CONTROL).unwrap().unwrap();
        assert!(matches!(asked.request, Request::Subscribe(_)), "{asked:?}");
        self.says(&ServerFrame::Reply { id: asked.id, reply: Reply::Done });
    }

    fn says(&mut self, frame: &ServerFrame) {
        blocking::write(&mut self.0, frame, Limit::CONTROL).unwrap();
    }

    fn tells(&mut self, seq: u64, job: i64) {
        let change = Change::Gone(vec![JobId(job)]);
        self.says(&ServerFrame::Event(Box::new(Event { seq, change })));
    }
}

#[test]
fn a_missing_number_makes_the_link_ask_again() {
    let home = Home::empty();
    let folder = home.socket().parent().unwrap().to_owned();
    perilune::config::private_folder::make(&folder).unwrap();
    let listener = UnixListener::bind(home.socket()).unwrap();
    let actor = std::thread::spawn(move || {
        let mut actor = Actor::greets(&listener);
        actor.hears_a_subscription();
        actor.tells(1, 10);
        actor.tells(2, 20);
        actor.tells(4, 40);
        actor.hears_a_subscription();
        actor.tells(5, 50);
        // The second link's daemon hangs up in the middle of a frame.
        drop(actor);
        let mut actor = Actor::greets(&listener);
        actor.hears_a_subscription();
        actor.tells(1, 11);
    });
    runtime().block_on(async {
        let mut link = follow(gate(&home), Topics::default());
        let mut heard = Vec::new();
        while heard.len() < 5 {
            match tokio::time::timeout(Duration::from_secs(20), link.news.recv()).await.unwrap().unwrap() {
                News::Heard(event) => match event.change {
                    Change::Gone(jobs) => heard.push(jobs[0].0.to_string()),
                    other => panic!("{other:?}"),
                },
                News::Down { .. } => heard.push("down".to_owned()),
                News::Up { .. } | News::Answered { .. } => {}
            }
        }
        assert_eq!(heard, ["10", "20", "50", "down", "11"], "what follows a gap is not believed");
    });
    actor.join().unwrap();
}
