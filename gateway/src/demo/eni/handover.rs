//! The interface on its way from one instance to another under load: how long nobody answered, and
//! what has to hold of it.

use std::time::Duration;

use halfspace_testbed::wait_until;

use super::Stage;
use super::load::{self, Measured};
use super::plan::{self, Instance};
use crate::demo::daemon::Daemon;
use crate::demo::error::Error;
use crate::demo::report::Report;
use crate::demo::tables::Head;

/// How long nobody may answer at 10,000 packets a second. It is compared and told, and fails
/// nothing: a busy machine may take longer to run the programs that are measured.
const TARGET: Duration = Duration::from_millis(50);

/// How long the load runs before the interface moves and after it has.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_millis(500);

/// How long the move may take until it has failed.
const LIMIT: Duration = Duration::from_secs(5);

const BLACKOUTS: Head = Head {
    title: "How long nobody answered, in milliseconds (target: 50)",
    columns: &["how", "from", "to", "UDP", "ping", "HTTP"],
    figures: &[3, 4, 5],
};

/// One way for the interface to get from one instance to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handover {
    /// The way, for people.
    pub how: &'static str,
    /// The instance that has the interface.
    pub from: Instance,
    /// The one that is to have it.
    pub to: Instance,
}

impl Handover {
    /// Goes this way under load, by what `act` does.
    pub(super) fn perform(
        self,
        stage: &mut Stage,
        act: impl FnOnce(&Daemon) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let before = Surroundings::take(stage)?;
        let what = format!("datagrams, ping and HTTP requests run; {}", self.how);
        let step = stage.report.progress.step(&what);
        let (measured, since) = load::during(&stage.lab.client, |watch| {
            stage.interrupt.sleep(BEFORE);
            let since = watch.elapsed();
            act(&stage.lab.daemon)?;
            // If they do not, a check says so.
            let _ = wait_until(LIMIT, "the other instance to answer", || {
                let there = watch.stream.is(self.to) && watch.requests.is(self.to);
                there || stage.interrupt.is_raised()
            });
            stage.interrupt.sleep(AFTER);
            Ok(since)
        })?;
        drop(step);
        stage.go_on()?;
        let after = Surroundings::take(stage)?;
        self.blackouts(&mut stage.report, &measured, since);
        self.went_over(&mut stage.report, &measured);
        self.same_connection(stage, measured.stream.port)?;
        stage.report.equal(
            "no route was changed, nor the client's neighbour: nobody had to be told",
            &after,
            &before,
        );
        Ok(())
    }

    /// How long nobody answered, told and taken into the table.
    fn blackouts(self, report: &mut Report, measured: &Measured, since: Duration) {
        let Measured { stream, pings, requests } = measured;
        let tracks = [("UDP", &stream.track), ("ping", pings), ("HTTP", requests)];
        let blackouts = tracks.map(|(_, track)| track.blackout(since));
        for ((name, track), blackout) in tracks.into_iter().zip(blackouts) {
            report.note(format!(
                "{name}, {:.0} a second: {} ms without an answer; {} of {} unanswered",
                track.rate(),
                milliseconds(blackout),
                track.unanswered(),
                track.asked(),
            ));
        }
        report.note(format!(
            "UDP is {} the target, {} ms; the sender's own longest pause: {} ms",
            if blackouts[0] <= TARGET { "within" } else { "above" },
            TARGET.as_millis(),
            milliseconds(stream.longest_pause),
        ));
        let names = [self.how, self.from.name, self.to.name].map(str::to_owned);
        report.tables.add(&BLACKOUTS, names.into_iter().chain(blackouts.map(milliseconds)));
    }

    /// Everything is answered by one instance first and by the other then.
    fn went_over(self, report: &mut Report, measured: &Measured) {
        let (from, to) = (self.from.name, self.to.name);
        let tracks = [
            ("datagrams", &measured.stream.track),
            ("pings", &measured.pings),
            ("requests", &measured.requests),
        ];
        let missing: Vec<_> = tracks
            .iter()
            .filter(|(_, track)| {
                track.first_of(self.from).is_none() || track.first_of(self.to).is_none()
            })
            .map(|(name, _)| *name)
            .collect();
        report.holds(
            format!("datagrams, pings and new connections went over from {from} to {to}"),
            missing.is_empty(),
            format!("{} did not within {LIMIT:?}", missing.join(" and ")),
        );
        let late: Vec<_> = tracks
            .iter()
            .filter_map(|(name, track)| {
                let (last, first) = (track.last_of(self.from)?, track.first_of(self.to)?);
                (last > first).then(|| format!("{name}: number {last} after {first}"))
            })
            .collect();
        report.holds(
            format!("{from} answered nothing that was asked after what {to} answered first"),
            late.is_empty(),
            late.join("; "),
        );
    }

    /// The datagrams' socket was not closed, and its flow leads to the other instance.
    fn same_connection(self, stage: &mut Stage, port: u16) -> Result<(), Error> {
        let (client, public) = (plan::at(plan::CLIENT, port), plan::at(plan::PUBLIC, plan::ECHO));
        let (private, device) =
            (plan::at(plan::PRIVATE, plan::ECHO), self.to.port(plan::DEVICE_INDEX));
        let flows = stage.lab.daemon.flows()?;
        // The standby's first answer may be ahead of the first datagram of the new flow, which then
        // is the other way round.
        let ways =
            flows.iter().flat_map(|it| [(&it.forward, &it.reverse), (&it.reverse, &it.forward)]);
        let way = ways
            .filter(|(there, _)| there.received.source == client)
            .map(|(there, back)| (there.sent.destination, back.port.as_str()))
            .next();
        stage.report.equal(
            format!("the connection {client} → {public} went on, now by {device}"),
            &way,
            &Some((private, device.as_str())),
        );
        Ok(())
    }
}

/// What is not to change when an interface moves.
#[derive(Debug, PartialEq, Eq)]
struct Surroundings {
    /// Of client and instances.
    routes: Vec<String>,
    /// What the client knows of its neighbour at the public address.
    neighbour: String,
}

impl Surroundings {
    fn take(stage: &Stage) -> Result<Self, Error> {
        let lab = &stage.lab;
        let all = [&lab.client, &lab.web1.namespace, &lab.web2.namespace];
        let routes = all.map(|it| it.run(["ip", "-4", "route", "show", "table", "all"]));
        let routes = routes.into_iter().map(|shown| shown.map(|it| it.stdout));
        let public = plan::PUBLIC.to_string();
        let neighbour = lab.client.run(["ip", "neighbour", "show", "to", &public])?.stdout;
        let mut words = neighbour.split_whitespace().skip_while(|word| *word != "lladdr");
        let neighbour = words.nth(1).unwrap_or_default().to_owned();
        Ok(Self { routes: routes.collect::<Result<_, _>>()?, neighbour })
    }
}

/// For people: as fine as the datagrams are apart.
fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}
