// SPDX-License-Identifier: GPL-2.0-only
//! Transactions of many flows within one window of time, the same for all.

use std::{
    sync::{Barrier, OnceLock},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};

use super::{
    clock::Clock,
    counters::{self, Counters},
    cpus::pin,
    flow::{self, Flow},
    spread::Spread,
};

/// Transactions of each flow before any that counts.
const WARM_UP: usize = 20;

/// Everybody is at work before the window opens: so much of its length.
const SETTLING: u32 = 4;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure<'a> {
    pub(super) cpus: &'a [usize],
    pub(super) clock: Clock,
    pub(super) time: Duration,
}

/// What a measurement gave.
pub(super) struct Measured {
    /// Transactions that ended within the window, by CPU.
    pub(super) spreads: Vec<Spread>,
    /// What was counted from before the first transaction until after the last.
    pub(super) counted: Counters,
    /// Transactions that were made meanwhile, those outside of the window too.
    pub(super) made: u64,
}

/// When the end of a transaction counts, on the clock; for all flows alike, or
/// one flow may be measured while another does not run.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: u64,
    until: u64,
}

/// What a client did.
#[derive(Debug, Default)]
struct Taken {
    /// Nanoseconds of each transaction that counts.
    times: Vec<u64>,
    made: u64,
}

impl Measure<'_> {
    /// Has all flows at work at once, each on its CPU. What is counted begins
    /// with `begin`, which is called when everything is warm.
    pub(super) fn measure(
        self,
        flows: Vec<(usize, Flow)>,
        begin: impl FnOnce() -> Result<Counters>,
    ) -> Result<Measured> {
        let count = flows.len();
        // Everybody is warm; the counters were read; everybody has stopped counting.
        let (warm, go, stop) = (
            Barrier::new(count + 1),
            Barrier::new(count + 1),
            Barrier::new(count + 1),
        );
        let window = OnceLock::new();
        let (warm, go, stop, window) = (&warm, &go, &stop, &window);
        thread::scope(|scope| {
            let mut clients = Vec::new();
            let mut servers = Vec::new();
            for (cpu, flow) in flows {
                let Flow {
                    mut client,
                    mut server,
                } = flow;
                servers.push(scope.spawn(move || {
                    pin(cpu)?;
                    flow::serve(server.as_mut(), || self.clock.turn())
                }));
                clients.push(scope.spawn(move || {
                    let ready = pin(cpu).and_then(|()| {
                        (0..WARM_UP).try_for_each(|_| {
                            self.clock.turn();
                            flow::transact(client.as_mut())
                        })
                    });
                    // Nobody may miss a barrier, or the others wait for ever.
                    warm.wait();
                    go.wait();
                    let taken = ready.and_then(|()| {
                        let window = window.get().context("there is no window")?;
                        self.transact(client.as_mut(), *window)
                    });
                    stop.wait();
                    flow::end(client.as_mut())?;
                    anyhow::Ok((cpu, taken?))
                }));
            }
            warm.wait();
            let before = begin();
            let at_first = counters::read();
            let settling = (self.time / SETTLING).as_nanos() as u64;
            let time = self.time.as_nanos() as u64;
            let from = self.clock.ns() + settling;
            let until = from + time;
            window.get_or_init(|| Window { from, until });
            go.wait();
            stop.wait();
            let counted = before.and_then(|mut c| {
                c.since(at_first?)?;
                Ok(c)
            });
            let mut taken: Vec<Vec<u64>> = vec![Vec::new(); self.cpus.len()];
            let mut made = 0;
            for client in clients {
                let (cpu, some) = joined(client)?;
                made += some.made;
                if let Some(at) = self.cpus.iter().position(|c| *c == cpu) {
                    taken[at].extend(some.times);
                }
            }
            for server in servers {
                joined(server)?;
            }
            Ok(Measured {
                spreads: taken.into_iter().map(|t| Spread::of(t, time)).collect(),
                counted: counted?,
                made,
            })
        })
    }

    /// Transactions until the window has closed.
    fn transact(self, client: &mut dyn flow::End, window: Window) -> Result<Taken> {
        let mut taken = Taken {
            times: Vec::with_capacity(1 << 12),
            made: 0,
        };
        let mut start = self.clock.ns();
        while start < window.until {
            flow::transact(client)?;
            let end = self.clock.ns();
            taken.made += 1;
            if (window.from..window.until).contains(&end) {
                taken.times.push(end - start);
            }
            start = end;
            self.clock.turn();
        }
        Ok(taken)
    }
}

/// What a thread came to.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .map_err(|p| anyhow!("a thread panicked: {p:?}"))
        .and_then(|r| r)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An end whose byte number `slow` is late.
    struct Line {
        to: Sender<u8>,
        from: Receiver<u8>,
        given: usize,
        slow: Option<usize>,
    }

    impl flow::End for Line {
        fn give(&mut self, byte: u8) -> Result<()> {
            let late = self.slow == Some(self.given);
            thread::sleep(Duration::from_millis(if late { 400 } else { 1 }));
            self.given += 1;
            // Nobody listens any more once it was told that this is the last.
            let _ = self.to.send(byte);
            Ok(())
        }

        fn take(&mut self) -> Result<u8> {
            Ok(self.from.recv()?)
        }
    }

    fn line(slow: Option<usize>) -> Flow {
        let ((to, there), (back, from)) = (channel(), channel());
        let end = |to, from, slow| {
            Box::new(Line {
                to,
                from,
                given: 0,
                slow,
            })
        };
        Flow {
            client: end(to, from, slow),
            server: end(back, there, None),
        }
    }

    /// Verify that a flow which had no turn until the others were done has no
    /// window of its own then.
    #[test]
    fn the_window_is_everybodys() {
        let measure = Measure {
            cpus: &[],
            clock: Clock::Wall,
            time: Duration::from_millis(40),
        };
        let Flow {
            mut client,
            mut server,
        } = line(None);
        let serving = thread::spawn(move || flow::serve(server.as_mut(), || ()));
        let from = measure.clock.ns();
        let until = from + measure.time.as_nanos() as u64;
        let window = Window { from, until };
        let in_time = measure.transact(client.as_mut(), window).unwrap();
        assert!((2..=20).contains(&in_time.times.len()), "{in_time:?}");
        let late = measure.transact(client.as_mut(), window).unwrap();
        assert_eq!((late.times.len(), late.made), (0, 0));
        flow::end(client.as_mut()).unwrap();
        serving.join().unwrap().unwrap();
    }

    /// Verify that transactions which end outside of the window are in no figure,
    /// and that the figures are of all flows at once.
    #[test]
    fn what_is_outside_is_left_out() {
        let cpu = super::super::cpus::usable().unwrap()[0];
        let measured = Measure {
            cpus: &[cpu],
            clock: Clock::Wall,
            time: Duration::from_millis(160),
        }
        .measure(vec![(cpu, line(None)), (cpu, line(Some(WARM_UP)))], || {
            Ok(Counters::default())
        })
        .unwrap();
        let counts = measured.spreads[0].figure("transactions") as u64;
        assert!((10..=80).contains(&counts), "{counts} of one flow");
        // What it made before and after is known all the same: the late one.
        assert!(measured.made > counts, "{} made", measured.made);
        let (rate, mean) = (
            measured.spreads[0].figure("rate"),
            measured.spreads[0].figure("mean"),
        );
        let at_once = rate * mean / 1e9;
        assert!((0.8..1.2).contains(&at_once), "{at_once} flows at once");
    }
}
