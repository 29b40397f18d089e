//! Load: a number of connections, each of which waits for a response before the next request.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::figures::Timed;
use crate::http::Connection;
use crate::pgwire::Repeater;
use crate::{Failure, Outcome};

/// Open connections. Each turn opens its own: the server closes those that were idle
/// for a while, as they are in the other side's turn.
pub(crate) struct Load<C> {
    connections: Vec<C>,
}

impl Load<Connection> {
    pub(crate) fn open(address: SocketAddr, connections: usize) -> Outcome<Self> {
        let open = |_| Connection::open(address);
        Ok(Self {
            connections: (0..connections).map(open).collect::<Result<_, _>>()?,
        })
    }

    /// Every connection sends the requests in turn, over and over, each beginning with another.
    pub(crate) fn repeat(&mut self, requests: &[Vec<u8>], duration: Duration) -> Outcome<Timed> {
        let count = self.connections.len();
        self.run(|index, connection, latencies| {
            let mut turn = requests
                .iter()
                .cycle()
                .skip(index * requests.len() / count.max(1));
            over_and_over(duration, latencies, || {
                turn.next()
                    .map_or(Ok(()), |request| connection.call(request).map(drop))
            })
        })
    }

    /// Every connection sends one of the requests in turn `every` so often until `enough` says to
    /// end. A request takes from when it was due, so that those that come late because one
    /// before them was slow count as slow, too.
    pub(crate) fn pace(
        &mut self,
        requests: &[Vec<u8>],
        every: Duration,
        enough: impl Fn() -> bool + Sync,
    ) -> Outcome<Timed> {
        let count = self.connections.len().max(1);
        self.run(|index, connection, latencies| {
            // They begin one after the other, so that their requests do not come together.
            let mut due = Instant::now() + every * u32::try_from(index)? / u32::try_from(count)?;
            for request in requests.iter().cycle().skip(index) {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if enough() {
                    break;
                }
                connection.call(request)?;
                latencies.push(due.elapsed());
                due += every;
            }
            Ok(())
        })
    }

    /// Every request is sent once, by one of the connections.
    pub(crate) fn each(&mut self, requests: &[Vec<u8>]) -> Outcome<Timed> {
        let count = self.connections.len();
        self.run(|index, connection, latencies| {
            for request in requests.iter().skip(index).step_by(count) {
                let start = Instant::now();
                connection.call(request)?;
                latencies.push(start.elapsed());
            }
            Ok(())
        })
    }
}

impl Load<Repeater> {
    pub(crate) fn of(connections: Vec<Repeater>) -> Self {
        Self { connections }
    }

    /// Every connection repeats its statement with its values in turn; each answers `rows` rows.
    pub(crate) fn repeat(&mut self, rows: usize, duration: Duration) -> Outcome<Timed> {
        self.run(|_, connection, latencies| {
            over_and_over(duration, latencies, || {
                let answered = connection.rows()?;
                if answered == rows {
                    Ok(())
                } else {
                    Err(format!("the floor answered {answered} rows in place of {rows}").into())
                }
            })
        })
    }
}

fn over_and_over(
    duration: Duration,
    latencies: &mut Vec<Duration>,
    mut job: impl FnMut() -> Outcome<()>,
) -> Outcome<()> {
    let end = Instant::now() + duration;
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(());
        }
        job()?;
        latencies.push(start.elapsed());
    }
}

impl<C: Send> Load<C> {
    fn run(
        &mut self,
        job: impl Fn(usize, &mut C, &mut Vec<Duration>) -> Outcome<()> + Sync,
    ) -> Outcome<Timed> {
        let ready = Barrier::new(self.connections.len() + 1);
        thread::scope(|scope| {
            let (job, ready) = (&job, &ready);
            let threads: Vec<_> = self
                .connections
                .iter_mut()
                .enumerate()
                .map(|(index, connection)| {
                    scope.spawn(move || {
                        let mut latencies = Vec::with_capacity(1 << 14);
                        ready.wait();
                        job(index, connection, &mut latencies)?;
                        Ok::<_, Failure>(latencies)
                    })
                })
                .collect();
            ready.wait();
            let start = Instant::now();
            let mut latencies = Vec::new();
            for thread in threads {
                let done = thread
                    .join()
                    .map_err(|_panic| Failure::from("a connection's thread panicked"))?;
                latencies.extend(done?);
            }
            Ok(Timed {
                latencies,
                wall: start.elapsed(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::listener::listen;

    #[test]
    fn a_request_that_comes_late_takes_from_when_it_was_due() {
        let address = listen(|_, _| Some(String::new())).unwrap();
        let asked = AtomicUsize::new(0);
        // All of them are due at once, and each waits for those before it.
        let timed = Load::open(address, 1)
            .unwrap()
            .pace(
                &[b"GET / HTTP/1.1\r\n\r\n".to_vec()],
                Duration::ZERO,
                || asked.fetch_add(1, Ordering::Relaxed) >= 100,
            )
            .unwrap();
        assert_eq!(timed.latencies.len(), 100);
        assert!(timed.latencies.is_sorted(), "{:?}", timed.latencies);
    }
}
