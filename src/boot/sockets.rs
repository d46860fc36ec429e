//! The listening sockets: bound once, by us, and kept for as long as the process accepts. Pingora gets duplicates.
//!
//! A successor has some of them from its predecessor. They are matched by address: first those that the conf names with their port, then a
//! port of 0 takes the first that is left of its role and IP, in the order in which the predecessor had them; what is left over is closed.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::sockopt::socket_acceptconn;

use crate::conf::Conf;
use crate::edge::prepare_listener;

/// What is served on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Assets.
    Edge,
    /// Metrics and probes.
    Admin,
}

/// A listening socket, which others may have too.
pub struct Socket {
    /// What is served on it.
    pub role: Role,
    /// Where it listens: never port 0.
    pub address: SocketAddr,
    listener: TcpListener,
}

/// Every socket of the process.
pub struct Sockets(Mutex<Vec<Socket>>);

impl Role {
    /// Both, with their words on the wire.
    const WORDS: [(Self, &'static str); 2] = [(Self::Edge, "edge"), (Self::Admin, "admin")];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }

    /// The role of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(role, _)| *role)
    }
}

impl Socket {
    /// Bind `address`.
    fn bind(role: Role, address: SocketAddr) -> Result<Self, String> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            // Pingora takes it as it is, and a blocking accept would hold a worker.
            listener.set_nonblocking(true)?;
            Ok(Self { role, address: listener.local_addr()?, listener })
        });
        bound.map_err(|error| format!("cannot listen on {address}: {error}"))
    }

    /// A descriptor that somebody sent us, if it is the listener that it is said to be.
    pub fn received(role: Role, address: SocketAddr, fd: OwnedFd) -> Result<Self, String> {
        let wrong =
            |why: &dyn std::fmt::Display| format!("what was handed over as {address} is no such listener: {why}");
        if !socket_acceptconn(&fd).map_err(|error| wrong(&error))? {
            return Err(wrong(&"it does not listen"));
        }
        let listener = TcpListener::from(fd);
        let found = listener.local_addr().map_err(|error| wrong(&error))?;
        if found != address {
            return Err(wrong(&format_args!("it listens on {found}")));
        }
        listener.set_nonblocking(true).map_err(|error| wrong(&error))?;
        Ok(Self { role, address, listener })
    }
}

impl Socket {
    /// One more of the same.
    pub fn duplicate(&self) -> Result<Self, String> {
        let listener = self.listener.try_clone().map_err(|error| format!("listeners: {error}"))?;
        Ok(Self { role: self.role, address: self.address, listener })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Sockets {
    /// A socket for every address of the conf, whose ports of 0 become those that are listened on: from `inherited` where one fits, else
    /// bound. Errors: the first address that can't be bound.
    pub fn open(conf: &mut Conf, inherited: Vec<Socket>) -> Result<Self, String> {
        let write_timeout = conf.edge.ingress.write_timeout;
        let mut inherited: Vec<_> = inherited.into_iter().map(Some).collect();
        let mut places: Vec<_> = places(conf).into_iter().map(|(role, place)| (role, place, None)).collect();
        // An address that the conf names is never taken for a port of 0.
        for named in [true, false] {
            for (role, place, socket) in places.iter_mut().filter(|(_, place, _)| (place.port() != 0) == named) {
                let fits = |other: &Socket| {
                    if named {
                        other.address == **place
                    } else {
                        other.role == *role && other.address.ip() == place.ip()
                    }
                };
                let found = inherited.iter_mut().find(|other| other.as_ref().is_some_and(fits));
                *socket = found.and_then(Option::take).map(|found| Socket { role: *role, ..found });
            }
        }
        // What nobody wants any more is closed before anything is bound, and its old owner goes on until it retires.
        for socket in inherited.into_iter().flatten() {
            log::info!(event = "listener_left", address = socket.address.to_string().as_str(); "the conf has it no more");
        }
        let mut sockets = Vec::with_capacity(places.len());
        for (role, place, socket) in places {
            let socket = socket.map_or_else(|| Socket::bind(role, *place), Ok)?;
            *place = socket.address;
            if role == Role::Edge {
                prepare_listener(&socket, write_timeout)
                    .map_err(|error| format!("cannot listen on {}: {error}", socket.address))?;
            }
            sockets.push(socket);
        }
        Ok(Self(Mutex::new(sockets)))
    }

    /// The sockets, to be handed over.
    pub fn lock(&self) -> MutexGuard<'_, Vec<Socket>> {
        // A list is whole whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses of a role, in the order of the conf.
    pub fn addresses(&self, role: Role) -> Vec<SocketAddr> {
        self.lock().iter().filter(|socket| socket.role == role).map(|socket| socket.address).collect()
    }

    /// Duplicates of the sockets of a role, for whoever accepts on them.
    pub fn duplicates(&self, role: Role) -> Result<Vec<(SocketAddr, OwnedFd)>, String> {
        let sockets = self.lock();
        let of_role = sockets.iter().filter(|socket| socket.role == role);
        let duplicated = of_role.map(|socket| Ok((socket.address, socket.as_fd().try_clone_to_owned()?)));
        duplicated.collect::<std::io::Result<_>>().map_err(|error| format!("listeners: {error}"))
    }

    /// Let the sockets of a role go: once nobody accepts on them here, and nobody else has them, connections are refused.
    pub fn close(&self, role: Role) {
        self.lock().retain(|socket| socket.role != role);
    }
}

/// Every place of an address in the conf.
fn places(conf: &mut Conf) -> Vec<(Role, &mut SocketAddr)> {
    let edge = conf.edge.bind.iter_mut().map(|bind| (Role::Edge, &mut bind.addr));
    edge.chain(conf.edge.metrics.as_mut().map(|address| (Role::Admin, address))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::conf::Flags;

    fn conf(bind: &[&str], metrics: &str) -> Conf {
        let bind = bind.iter().map(|&address| address.to_owned()).collect();
        let flags = Flags { bind, metrics: Some(metrics.into()), ..Flags::default() };
        Conf::from_parts(None, [], &flags).unwrap()
    }

    /// What a process with these sockets would hand over.
    fn handed(sockets: &Sockets) -> Vec<Socket> {
        let sockets = sockets.lock();
        let copy = |socket: &Socket| {
            Socket::received(socket.role, socket.address, socket.as_fd().try_clone_to_owned().unwrap()).unwrap()
        };
        sockets.iter().map(copy).collect()
    }

    #[test]
    fn a_port_of_0_becomes_the_one_that_is_listened_on_and_stays_with_a_successor() {
        let mut first = conf(&["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0");
        let sockets = Sockets::open(&mut first, Vec::new()).unwrap();
        assert!(
            first.edge.bind.iter().map(|bind| &bind.addr).chain(&first.edge.metrics).all(|address| address.port() != 0)
        );
        let mut second = conf(&["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0");
        Sockets::open(&mut second, handed(&sockets)).unwrap();
        assert_eq!((&second.edge.bind, second.edge.metrics), (&first.edge.bind, first.edge.metrics));
    }

    #[test]
    fn an_address_with_its_port_is_taken_before_a_port_of_0_and_a_role_keeps_to_itself() {
        let mut first = conf(&["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0");
        let sockets = Sockets::open(&mut first, Vec::new()).unwrap();
        let (one, two) = (first.edge.bind[0].addr, first.edge.bind[1].addr);
        let mut second = conf(&["127.0.0.1:0", &one.to_string()], "off");
        Sockets::open(&mut second, handed(&sockets)).unwrap();
        assert_eq!([second.edge.bind[0].addr, second.edge.bind[1].addr], [two, one]);
        // The admin's pages do not move to what was public.
        let mut third = conf(&[&one.to_string()], "127.0.0.1:0");
        let moved = Sockets::open(&mut third, handed(&sockets)).unwrap();
        assert_eq!(third.edge.metrics, first.edge.metrics);
        assert_eq!(moved.addresses(Role::Edge), [one]);
        assert_eq!(moved.addresses(Role::Admin), [first.edge.metrics.unwrap()]);
    }

    #[test]
    fn an_address_that_is_taken_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _holder = TcpListener::bind(taken).unwrap();
        let error = Sockets::open(&mut conf(&[&taken.to_string()], "off"), Vec::new()).err().unwrap();
        assert!(error.starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    }

    #[test]
    fn what_is_no_such_listener_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let of = |fd: OwnedFd, address| Socket::received(Role::Edge, address, fd).err();
        assert!(of(listener.try_clone().unwrap().into(), other).unwrap().contains("it listens on"));
        let stream = std::net::TcpStream::connect(address).unwrap();
        assert!(of(stream.into(), address).unwrap().contains("it does not listen"));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(of(file.into(), address).is_some());
        assert_eq!(of(listener.into(), address), None);
    }
}
