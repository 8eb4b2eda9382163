//! A wire between two processes that can be cut, slowed down, and made to carry only one way.
//!
//! What is held is neither lost nor refused: as with packets that a network drops for a while, whoever
//! waits for it hears nothing at all, not even that the other one has gone, until the wire carries again.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// Which way bytes go. The client is whoever has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    ToServer,
    /// To the client.
    ToClient,
}

/// Whose connections are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All of them.
    Everybody,
    /// Those that this process has opened.
    Process(u32),
}

impl Whom {
    fn is(self, caller: &Caller) -> bool {
        match self {
            Self::Everybody => true,
            Self::Process(process) => caller.is(process),
        }
    }
}

/// A place to connect to, and what becomes of the connections. Its threads end with the test process; they
/// hold nothing that anybody waits for.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Rules>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rules {
    held: Vec<(Whom, Way)>,
    delay: Duration,
    open: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    caller: Arc<Caller>,
    ends: [TcpStream; 2],
}

impl Wire {
    /// A wire that leads to this port of this machine. Nobody need listen there yet.
    ///
    /// # Panics
    /// When there is no free port for it.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its number");
        let shared = Arc::new(Shared::default());
        let carried = shared.clone();
        thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let shared = carried.clone();
                thread::spawn(move || connect(here, port, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where it begins, as `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on nothing of them gets through this way.
    pub fn hold(&self, whom: Whom, way: Way) {
        self.shared.lock().held.push((whom, way));
    }

    /// What was held goes on, and everything after it.
    pub fn release(&self, whom: Whom, way: Way) {
        self.shared.lock().held.retain(|held| *held != (whom, way));
        self.shared.changed.notify_all();
    }

    /// Every piece takes so much longer, either way.
    pub fn delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Breaks their connections; new ones may be made. Answers how many there were.
    pub fn cut(&self, whom: Whom) -> usize {
        let mut rules = self.shared.lock();
        let broken = rules.open.extract_if(.., |open| whom.is(&open.caller));
        let broken: Vec<_> = broken.collect();
        for end in broken.iter().flat_map(|open| &open.ends) {
            shut(end);
        }
        broken.len()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until bytes may pass.
    fn pass(&self, caller: &Caller, way: Way) {
        let mut rules = self.lock();
        while rules
            .held
            .iter()
            .any(|(whom, held)| whom.is(caller) && *held == way)
        {
            rules = self
                .changed
                .wait(rules)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let delay = rules.delay;
        drop(rules);
        thread::sleep(delay);
    }
}

fn shut(end: &TcpStream) {
    // The other side is done with it already, perhaps.
    let _ = end.shutdown(Shutdown::Both);
}

fn connect(here: TcpStream, port: u16, shared: &Arc<Shared>) {
    let Some(caller) = Caller::of(&here).map(Arc::new) else {
        return;
    };
    let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    for end in [&here, &there] {
        // Small messages that wait for each other would be one more fault.
        let _ = end.set_nodelay(true);
    }
    let clones = || Some([here.try_clone().ok()?, there.try_clone().ok()?]);
    let (Some(ends), Some([mut from, mut to])) = (clones(), clones()) else {
        return;
    };
    let open = Connection {
        caller: caller.clone(),
        ends,
    };
    shared.lock().open.push(open);
    let (back, back_to) = (shared.clone(), caller.clone());
    let backwards = thread::spawn(move || {
        carry(&mut to, &mut from, &back, &back_to, Way::ToClient);
    });
    let (mut from, mut to) = (here, there);
    carry(&mut from, &mut to, shared, &caller, Way::ToServer);
    // It ends because both ends are shut; if it panicked there is nothing left to carry.
    let _ = backwards.join();
    let mut rules = shared.lock();
    let this = from.peer_addr().ok();
    rules.open.retain(|open| {
        let peer = open.ends[0].peer_addr().ok();
        peer.is_some() && peer != this
    });
}

fn carry(from: &mut TcpStream, to: &mut TcpStream, shared: &Shared, caller: &Caller, way: Way) {
    let mut piece = [0; 16 * 1024];
    loop {
        let length = from.read(&mut piece).unwrap_or(0);
        // The end of a connection is news, too.
        shared.pass(caller, way);
        if length == 0 || to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    shut(from);
    shut(to);
}

/// How often a connection is looked for: what the kernel lists while others come and go is not always whole.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Who has opened a connection. It is looked up when a rule asks for it, and only among those whom rules name: a wire
/// that searched all processes for each connection would be slower than those who wait for it.
#[derive(Debug)]
struct Caller {
    /// The ports of its end and of ours.
    ports: [u16; 2],
    socket: OnceLock<PathBuf>,
}

impl Caller {
    fn of(here: &TcpStream) -> Option<Self> {
        Some(Self {
            ports: [
                here.peer_addr().ok()?.port(),
                here.local_addr().ok()?.port(),
            ],
            socket: OnceLock::new(),
        })
    }

    fn is(&self, process: u32) -> bool {
        self.socket()
            .is_some_and(|socket| has_open(process, socket))
    }

    /// What the kernel calls its end. None once that is closed.
    fn socket(&self) -> Option<&PathBuf> {
        for look in 0..LOOKS {
            if self.socket.get().is_some() {
                break;
            }
            if look > 0 {
                thread::sleep(BETWEEN_LOOKS);
            }
            if let Some(found) = socket(self.ports) {
                return Some(self.socket.get_or_init(|| found));
            }
        }
        self.socket.get()
    }
}

/// The socket that has the first of these ports of this machine as its end of a connection to the second. The
/// port alone would not do: an older connection from it to elsewhere may not be forgotten yet.
fn socket(ends: [u16; 2]) -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let [mine, other] = ends.map(|port| format!("0100007F:{port:04X}"));
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let it = fields.get(1) == Some(&mine.as_str()) && fields.get(2) == Some(&other.as_str());
        it.then(|| fields.get(9).copied())?
    })?;
    // A socket without a file is one that nobody has any more.
    (inode != "0").then(|| format!("socket:[{inode}]").into())
}

fn has_open(process: u32, file: &Path) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn pair(wire: &Wire, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(wire.address).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn listen() -> (Wire, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (Wire::to(listener.local_addr().unwrap().port()), listener)
    }

    #[test]
    fn what_is_held_one_way_arrives_whole_when_it_is_released_and_the_other_way_goes_on() {
        let (wire, listener) = listen();
        let (mut client, mut server) = pair(&wire, &listener);
        let me = Whom::Process(std::process::id());
        wire.hold(me, Way::ToServer);
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        server.write_all(b"there").unwrap();
        let mut there = [0; 5];
        client.read_exact(&mut there).unwrap();
        assert_eq!(&there, b"there");
        server.set_nonblocking(true).unwrap();
        let nothing = server.read(&mut there).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        server.set_nonblocking(false).unwrap();
        wire.release(me, Way::ToServer);
        let mut all = String::new();
        server.read_to_string(&mut all).unwrap();
        assert_eq!(all, "hello");
    }

    /// A client at this port, or at any if it is 0, which may have been another one's a moment ago.
    fn client_at(port: u16, to: SocketAddr) -> TcpStream {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(([127, 0, 0, 1], port).into()).unwrap();
            let client = socket.connect(to).await.unwrap().into_std().unwrap();
            client.set_nonblocking(false).unwrap();
            client
        })
    }

    #[test]
    fn who_has_opened_a_connection_is_found_though_its_port_has_just_been_used_for_others() {
        let mut port = 0;
        for _ in 0..16 {
            let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = client_at(port, elsewhere.local_addr().unwrap());
            port = client.local_addr().unwrap().port();
            let other = elsewhere.accept().unwrap().0;
            // Whoever hangs up first has to keep the port in mind for a while.
            shut(&client);
            drop((client, other));
        }
        let (wire, listener) = listen();
        let mut client = client_at(port, wire.address);
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        assert_eq!(wire.cut(Whom::Process(std::process::id())), 1);
    }

    #[test]
    fn a_rule_for_another_process_concerns_nobody_else() {
        let (wire, listener) = listen();
        wire.hold(Whom::Process(1), Way::ToServer);
        let (mut client, mut server) = pair(&wire, &listener);
        assert_eq!(wire.cut(Whom::Process(1)), 0);
        client.write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        server.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
    }

    #[test]
    fn a_cut_ends_connections_at_both_sides_and_new_ones_can_be_made() {
        let (wire, listener) = listen();
        let (mut client, mut server) = pair(&wire, &listener);
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        assert_eq!(wire.cut(Whom::Process(std::process::id())), 1);
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        assert_eq!(server.read(&mut [0]).unwrap_or(0), 0);
        let (mut client, mut server) = pair(&wire, &listener);
        let delay = Duration::from_millis(30);
        wire.delay(delay);
        let begun = Instant::now();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        assert!(begun.elapsed() >= delay);
    }
}
