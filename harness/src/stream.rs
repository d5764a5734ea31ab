// SPDX-License-Identifier: GPL-2.0-only
//! The guest's records, read with suspicion: a guest that is going down writes
//! half a record, and a kernel under test may write anything.

use std::collections::BTreeSet;

use protocol::{Event, MAX_LINE, Record, VERSION};

/// A stream longer than this is a guest that writes without end. Bytes.
const MOST_BYTES: u64 = 64 << 20;

/// The stream as far as it has come. After the first damage nothing more is believed.
#[derive(Debug, Default)]
pub struct Stream {
    partial: Vec<u8>,
    bytes: u64,
    next: u64,
    done: bool,
    /// What `hello` announced and has not started yet: each case runs once.
    to_come: BTreeSet<String>,
    ended: u64,
    running: Option<String>,
    damage: Option<String>,
}

impl Stream {
    /// Takes bytes as they come and gives the events that became whole.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            if self.damage.is_some() {
                break;
            }
            self.bytes += 1;
            if self.bytes > MOST_BYTES {
                self.damage = Some(format!(
                    "the guest wrote more than {} MiB of records",
                    MOST_BYTES >> 20
                ));
                break;
            }
            if byte != b'\n' {
                if self.partial.len() == MAX_LINE {
                    self.damage = Some(format!("a record is longer than {MAX_LINE} bytes"));
                    self.partial = Vec::new();
                } else {
                    self.partial.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.partial);
            match self.accept(&line) {
                Ok(event) => events.push(event),
                Err(why) => self.damage = Some(why),
            }
        }
        events
    }

    fn accept(&mut self, line: &[u8]) -> Result<Event, String> {
        let record: Record = serde_json::from_slice(line).map_err(|e| {
            let start: String = String::from_utf8_lossy(line).chars().take(80).collect();
            format!("record {} is damaged ({e}): {start:?}", self.next)
        })?;
        if record.seq != self.next {
            return Err(format!(
                "record {} came where {} was due",
                record.seq, self.next
            ));
        }
        if self.done {
            return Err(format!("record {} came after `done`", record.seq));
        }
        let at = self.next;
        self.next += 1;
        let wrong = match &record.event {
            Event::Hello { protocol, .. } if *protocol != VERSION => Some(format!(
                "the guest speaks protocol {protocol}, the host {VERSION}"
            )),
            Event::Hello { .. } if at != 0 => Some("a second `hello`".to_owned()),
            Event::Hello { cases, .. } => {
                self.to_come = cases.iter().cloned().collect();
                (self.to_come.len() != cases.len())
                    .then(|| "`hello` announced a case twice".to_owned())
            }
            _ if at == 0 => Some("the first record is no `hello`".to_owned()),
            Event::CaseStart { case } => {
                // What came first stands: a case that ran again cannot take it back.
                let announced = self.to_come.remove(case);
                match self.running.replace(case.clone()) {
                    Some(b) => Some(format!("`{case}` started while `{b}` was running")),
                    None if announced => None,
                    None => Some(format!(
                        "`{case}` started, which was not announced or had run already"
                    )),
                }
            }
            Event::CaseEnd { case, .. } => {
                self.ended += 1;
                let started = self.running.take();
                (started.as_deref() != Some(case))
                    .then(|| format!("`{case}` ended without having started"))
            }
            Event::Done { cases, .. } => {
                self.done = true;
                (*cases != self.ended || self.running.is_some())
                    .then(|| format!("`done` after {cases} cases, and {} had ended", self.ended))
            }
            Event::Metric { value, name, .. } => {
                (!value.is_finite()).then(|| format!("the figure {name} is {value}"))
            }
            Event::Log { .. } => None,
        };
        wrong.map_or(Ok(record.event), Err)
    }

    /// Why the stream cannot be called whole; `None` when it can. Asked for
    /// when the guest has ended.
    pub fn lacks(&self) -> Option<String> {
        if let Some(damage) = &self.damage {
            return Some(damage.clone());
        }
        if !self.partial.is_empty() {
            return Some(format!("record {} is truncated", self.next));
        }
        if self.next == 0 {
            return Some("the guest never said hello".into());
        }
        (!self.done).then(|| format!("no `done` after {} records", self.next))
    }

    /// Whether nothing that comes now can be believed.
    pub fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// Whether the guest said that it was done.
    pub fn is_done(&self) -> bool {
        self.done && self.damage.is_none()
    }
}

#[cfg(test)]
mod tests {
    use protocol::Outcome;

    use super::*;
    use crate::damage::Damage;

    fn lines(events: Vec<Event>) -> Vec<u8> {
        let records = events.into_iter().enumerate().map(|(seq, event)| Record {
            seq: seq as u64,
            at_us: 0,
            event,
        });
        records
            .flat_map(|r| (serde_json::to_string(&r).unwrap() + "\n").into_bytes())
            .collect()
    }

    fn done(cases: u64) -> Event {
        Event::Done {
            cases,
            detectors: BTreeSet::new(),
        }
    }

    fn whole() -> Vec<u8> {
        lines(vec![
            Event::Hello {
                protocol: VERSION,
                kernel: "k".into(),
                build_id: None,
                cases: vec!["a".into()],
                detectors: BTreeSet::new(),
            },
            Event::CaseStart { case: "a".into() },
            Event::CaseEnd {
                case: "a".into(),
                outcome: Outcome::Pass,
                duration_us: 1,
            },
            done(1),
        ])
    }

    fn lacks(bytes: &[u8]) -> Option<String> {
        let mut stream = Stream::default();
        stream.push(bytes);
        stream.lacks()
    }

    /// Verify that a whole stream is whole, however it is cut on the way.
    #[test]
    fn whole_stream_is_whole() {
        let mut stream = Stream::default();
        let events: usize = whole().chunks(7).map(|c| stream.push(c).len()).sum();
        assert_eq!((events, stream.lacks()), (4, None));
    }

    /// Verify that no stream that was cut short is taken for a whole one.
    #[test]
    fn every_truncation_is_noticed() {
        let whole = whole();
        for length in 0..whole.len() {
            assert!(lacks(&whole[..length]).is_some(), "cut at {length}");
        }
    }

    /// Verify that a gap, a repeated `done` and a record after it are noticed.
    #[test]
    fn gaps_and_repeats_are_noticed() {
        let text = String::from_utf8(whole()).unwrap();
        let all: Vec<&str> = text.lines().collect();
        for skip in 0..all.len() {
            let rest: Vec<&str> = all
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != skip)
                .map(|(_, l)| *l)
                .collect();
            assert!(
                lacks((rest.join("\n") + "\n").as_bytes()).is_some(),
                "without record {skip}"
            );
        }
        assert!(
            lacks(format!("{text}{}\n", all[3].replace("\"seq\":3", "\"seq\":4")).as_bytes())
                .is_some()
        );
    }

    /// Verify that a case cannot run a second time and take back what it came to,
    /// and that no case runs that was not announced.
    #[test]
    fn each_announced_case_runs_once() {
        let hello = |cases: &[&str]| Event::Hello {
            protocol: VERSION,
            kernel: "k".into(),
            build_id: None,
            detectors: BTreeSet::new(),
            cases: cases.iter().map(|c| (*c).to_owned()).collect(),
        };
        let start = |case: &str| Event::CaseStart { case: case.into() };
        let end = |case: &str| Event::CaseEnd {
            case: case.into(),
            outcome: Outcome::Pass,
            duration_us: 1,
        };
        let whole = |events| lacks(&lines(events));
        let good = vec![
            hello(&["a", "b"]),
            start("a"),
            end("a"),
            start("b"),
            end("b"),
            done(2),
        ];
        assert_eq!(whole(good), None);
        let twice = vec![
            hello(&["a"]),
            start("a"),
            end("a"),
            start("a"),
            end("a"),
            done(2),
        ];
        assert!(whole(twice).unwrap().contains("had run already"));
        let stranger = vec![hello(&["a"]), start("b"), end("b"), done(1)];
        assert!(whole(stranger).unwrap().contains("not announced"));
        let double = vec![hello(&["a", "a"]), start("a"), end("a"), done(1)];
        assert!(whole(double).unwrap().contains("twice"));
    }

    /// Verify that a guest that never stops writing records is stopped being listened to.
    #[test]
    fn endless_records_are_cut() {
        let mut stream = Stream::default();
        stream.push(&whole()[..whole().iter().position(|b| *b == b'\n').unwrap() + 1]);
        let mut seq = 1;
        while !stream.is_damaged() {
            let record = Record {
                seq,
                at_us: 0,
                event: Event::Log {
                    text: "x".repeat(1 << 20 >> 1),
                },
            };
            stream.push((serde_json::to_string(&record).unwrap() + "\n").as_bytes());
            seq += 1;
            assert!(seq < 1_000, "nothing stopped it");
        }
        assert!(stream.lacks().unwrap().contains("MiB of records"));
    }

    /// Verify that no change of one byte, and no noise, makes the reader panic,
    /// and that noise is never a whole stream.
    #[test]
    fn damage_is_survived() {
        let whole = whole();
        let mut damage = Damage::new();
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            let at = damage.below(bytes.len());
            bytes[at] = damage.below(256) as u8;
            lacks(&bytes);
            let noise: Vec<u8> = (0..64).map(|_| damage.below(256) as u8).collect();
            assert!(lacks(&noise).is_some());
        }
    }

    /// Verify that a record without end does not take memory without end.
    #[test]
    fn endless_record_is_cut() {
        let mut stream = Stream::default();
        for _ in 0..40 {
            stream.push(&vec![b'x'; 1 << 16]);
        }
        assert!(stream.partial.len() <= MAX_LINE && stream.is_damaged());
    }
}
