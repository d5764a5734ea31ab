// SPDX-License-Identifier: GPL-2.0-only
//! Asking QEMU about a guest that no longer answers for itself.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
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

struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    fn open(socket: &Path, patience: Duration) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("reaching QEMU's control socket")?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut control = Self {
            stream: BufReader::new(stream),
        };
        control.receive()?;
        control.call("qmp_capabilities", &json!({}))?;
        Ok(control)
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self
            .stream
            .read_line(&mut line)
            .context("waiting for QEMU's answer")?
            == 0
        {
            bail!("QEMU closed its control socket");
        }
        serde_json::from_str(&line).with_context(|| format!("QEMU answered {}", line.trim()))
    }

    fn call(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let message = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stream.get_mut(), "{message}").context("asking QEMU")?;
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
