// SPDX-License-Identifier: GPL-2.0-only
//! Asking QEMU about a guest that no longer answers for itself.

use std::{
    io::{BufRead, BufReader, Read, Take, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What QEMU's monitor answers to a command for people.
pub(super) fn monitor(socket: &Path, command: &str, patience: Duration) -> Result<String> {
    let mut control = Control::open(socket, patience)?;
    let answer = control.call("human-monitor-command", &json!({ "command-line": command }))?;
    Ok(answer.as_str().unwrap_or_default().to_owned())
}

/// Sends every CPU a non-maskable interrupt.
pub(super) fn nmi(socket: &Path, patience: Duration) -> Result<()> {
    Control::open(socket, patience)?
        .call("inject-nmi", &json!({}))
        .map(drop)
}

/// An answer that is longer, or an end that does not come among so much, is none.
/// Registers of eight CPUs are 20 KiB.
const MOST_BYTES: u64 = 4 << 20;

struct Control {
    stream: Take<BufReader<UnixStream>>,
    until: Instant,
}

impl Control {
    fn open(socket: &Path, patience: Duration) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("reaching QEMU's control socket")?;
        Self::over(stream, patience)
    }

    fn over(stream: UnixStream, patience: Duration) -> Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut control = Self {
            stream: BufReader::new(stream).take(MOST_BYTES),
            until: Instant::now() + patience,
        };
        control.receive()?;
        control.call("qmp_capabilities", &json!({}))?;
        Ok(control)
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .context("waiting for QEMU's answer")?;
        // Other lines may come for ever instead.
        if Instant::now() > self.until {
            bail!("QEMU did not answer in time");
        }
        if self.stream.limit() == 0 {
            bail!(
                "QEMU wrote more than {} MiB instead of an answer",
                MOST_BYTES >> 20
            );
        }
        if line.is_empty() {
            bail!("QEMU closed its control socket");
        }
        serde_json::from_str(&line).with_context(|| {
            let start: String = line.trim().chars().take(200).collect();
            format!("QEMU answered {start}")
        })
    }

    fn call(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let message = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut().get_mut(), "{message}").context("asking QEMU")?;
        loop {
            // Events may come between question and answer.
            let mut answer = self.receive()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused {command}: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::damage::{Damage, memory};

    /// What a monitor is asked that writes `said`, and then the pieces of `more`
    /// until nobody reads any more.
    fn asked(said: &[u8], more: &'static [u8]) -> Result<Value> {
        let (ours, mut theirs) = UnixStream::pair()?;
        let said = said.to_vec();
        let writer = thread::spawn(move || {
            let _ = theirs.write_all(&said);
            while !more.is_empty() && theirs.write_all(more).is_ok() {}
            // What is asked is taken until there is nothing more to come.
            let _ = theirs.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut theirs, &mut std::io::sink());
        });
        let answer = Control::over(ours, Duration::from_secs(1))
            .and_then(|mut c| c.call("human-monitor-command", &json!({})));
        writer.join().map_err(|_| anyhow::anyhow!("it panicked"))?;
        answer
    }

    const SAID: &str = "{\"QMP\": {\"version\": {}}}\n{\"return\": {}}\n\
                        {\"event\": \"NIC_RX_FILTER_CHANGED\"}\n{\"return\": \"CPU#0\\r\\nRIP=1\"}\n";

    /// Verify that an answer is found among events, and that an endless line,
    /// endless events and none at all are errors, in little memory.
    #[test]
    fn a_damaged_monitor_is_survived() {
        assert_eq!(
            asked(SAID.as_bytes(), b"").unwrap(),
            json!("CPU#0\r\nRIP=1")
        );
        let start = SAID.lines().next().unwrap().to_owned() + "\n";
        let error = |more| asked(start.as_bytes(), more).unwrap_err().to_string();
        // A string doubles as it grows, and has both for a moment.
        memory::bounded(4 * MOST_BYTES as usize / 100, || {
            let endless = error(&[b'x'; 1 << 16]);
            assert!(
                endless.contains("MiB") || endless.contains("in time"),
                "{endless}"
            );
            let events = error(b"{\"event\": \"x\"}\n");
            assert!(
                events.contains("MiB") || events.contains("in time"),
                "{events}"
            );
        });
        assert!(error(b"").contains("closed"));
        Damage::texts(200, SAID, |damaged| {
            if let Ok(answer) = asked(damaged.as_bytes(), b"") {
                assert!(!answer.to_string().is_empty());
            }
        });
    }
}
