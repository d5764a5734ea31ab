// SPDX-License-Identifier: GPL-2.0-only
//! The whole bisection on scripted histories: what it says is true, what it
//! costs, and what misleads it not.

use anyhow::{Result, bail};
use harness::{
    bisect::{
        drive::{Built, Lab, drive},
        graph::History,
        question::Looking,
        sight::{Boot, CaseSeen, Sight, THE_RUN},
        state::{Asked, End, State},
    },
    verdict::Verdict,
};

use crate::histories::{Dice, GOOD_END, Shape};

/// Commits as a script has them. Their names are numbers; the good end is `g`.
struct Script {
    shape: Shape,
    culprits: Vec<usize>,
    /// Commits that are good again.
    mended: Option<std::ops::Range<usize>>,
    unbuildable: Vec<bool>,
    /// Touches no file that is built.
    quiet: Vec<bool>,
    /// Taken for quiet, although it is not.
    taken_for_quiet: Vec<bool>,
    /// How often a bad and a good commit fail.
    fails: (f64, f64),
    dice: Dice,
    /// Boots that were made, and after how many the power goes.
    boots: usize,
    power: usize,
    /// What was saved last.
    saved: Option<State>,
}

impl Script {
    fn new(shape: Shape, culprits: Vec<usize>, seed: u64) -> Self {
        let len = shape.len();
        Self {
            shape,
            culprits,
            mended: None,
            unbuildable: vec![false; len],
            quiet: vec![false; len],
            taken_for_quiet: vec![false; len],
            fails: (1.0, 0.0),
            dice: Dice::new(seed),
            boots: 0,
            power: usize::MAX,
            saved: None,
        }
    }

    fn is_bad(&self, at: usize) -> bool {
        at != GOOD_END
            && self.mended.as_ref().is_none_or(|m| !m.contains(&at))
            && self.shape.has(at, &self.culprits)
    }

    /// The last commit up to this one, on a line, that is not quiet.
    fn image(&self, at: usize) -> String {
        let mut on = at;
        while on != GOOD_END && self.quiet[on] {
            on = self.shape.0[on][0];
        }
        id(on)
    }

    fn asked(&self) -> Asked {
        Asked {
            tree: None,
            base: String::new(),
            series: None,
            on_top: false,
            good: vec!["g".into()],
            bad: id(self.shape.len() - 1),
            cases: vec![],
            flavor: "default".into(),
            metric: None,
            flaky: false,
        }
    }
}

fn id(at: usize) -> String {
    if at == GOOD_END {
        "g".into()
    } else {
        at.to_string()
    }
}

fn at(id: &str) -> usize {
    id.parse().unwrap_or(GOOD_END)
}

impl Lab for Script {
    fn line(&mut self, of: &str, most: usize) -> Result<Vec<String>> {
        let mut line = Vec::new();
        let mut on = at(of);
        while on != GOOD_END && line.len() < most {
            on = self.shape.0[on][0];
            line.push(id(on));
        }
        Ok(line)
    }

    fn history(&mut self, good: &[String], bad: &str, all_count: bool) -> Result<History> {
        let after = good.iter().map(|g| at(g)).find(|g| *g != GOOD_END);
        let from = after.map_or(0, |g| g + 1);
        let commits: Vec<(String, Vec<String>)> = (from..=at(bad))
            .map(|c| (id(c), self.shape.0[c].iter().map(|p| id(*p)).collect()))
            .collect();
        let quiet = |i: &str| self.quiet[at(i)] || self.taken_for_quiet[at(i)];
        Ok(History::new(&commits).count_only(|i| all_count || !quiet(i)))
    }

    fn parents(&mut self, commit: &str) -> Result<Vec<String>> {
        Ok(self.shape.0[at(commit)].iter().map(|p| id(*p)).collect())
    }

    fn same_files(&mut self, commit: &str, built: &str) -> Result<bool> {
        Ok(self.image(at(commit)) == self.image(at(built)))
    }

    fn build(&mut self, commit: &str) -> Result<Built> {
        let at = at(commit);
        if at != GOOD_END && self.unbuildable[at] {
            return Ok(Built::Not("error: it is broken".into()));
        }
        Ok(Built::Image(self.image(at)))
    }

    fn boot(&mut self, commit: &str) -> Result<Boot> {
        if self.boots == self.power {
            bail!("the power is gone");
        }
        self.boots += 1;
        let rate = if self.is_bad(at(commit)) {
            self.fails.0
        } else {
            self.fails.1
        };
        let seen = |name: &str, verdict, mark: &str| CaseSeen {
            name: name.into(),
            verdict,
            mark: mark.into(),
            why: mark.into(),
        };
        let case = if self.dice.chance(rate) {
            seen("case", Verdict::Fail, "not-dropped")
        } else {
            seen("case", Verdict::Pass, "")
        };
        Ok(Boot {
            sight: Sight::Cases(vec![seen(THE_RUN, Verdict::Pass, ""), case]),
            starts: 1,
            seconds: 1.0,
            console: String::new(),
        })
    }

    fn looking(&self) -> Looking {
        Looking::ForBreakage
    }

    fn save(&mut self, state: &State) -> Result<()> {
        self.saved = Some(state.clone());
        Ok(())
    }

    fn tell(&mut self, _: &State, _: Option<&History>, _: &str) {}
}

fn run(script: &mut Script) -> State {
    let mut state = State::new(script.asked());
    drive(&mut state, script).expect("a script does not fail");
    assert_eq!(state.starts(), script.boots, "a boot was not kept");
    state
}

fn culprit(state: &State) -> Option<usize> {
    match &state.end {
        Some(End::Found { culprit, .. }) => Some(at(culprit)),
        _ => None,
    }
}

fn log2(many: usize) -> usize {
    many.next_power_of_two().trailing_zeros() as usize
}

/// Verify on histories as they are, with commits that do not build and many
/// that touch no built file, that the culprit is found within the boots that
/// are promised, and was itself booted twice, as was its parent.
#[test]
fn found_within_the_boots() {
    let mut within = 0;
    for seed in 0..2000 {
        let mut dice = Dice::new(seed);
        let len = 60 + dice.below(60);
        let mut script = Script::new(Shape::line(len), vec![], seed);
        for at in 0..len {
            script.quiet[at] = dice.chance(0.6);
        }
        // Each commit that does not build is mended by the next one.
        for at in 1..len - 1 {
            if !script.unbuildable[at - 1] && !script.quiet[at] && !script.quiet[at + 1] {
                script.unbuildable[at] = dice.chance(0.1);
            }
        }
        let testable = |at: &usize| {
            !script.quiet[*at]
                && !script.unbuildable[*at]
                && (*at == 0 || !script.unbuildable[*at - 1])
        };
        let all: Vec<usize> = (0..len).filter(testable).collect();
        let culprit_is = all[dice.below(all.len())];
        script.culprits = vec![culprit_is];
        let state = run(&mut script);
        assert_eq!(
            culprit(&state),
            Some(culprit_is),
            "seed {seed}: {:?}",
            state.end
        );
        let counting = script.quiet.iter().filter(|q| !**q).count();
        // Both ends, both once more at the end; a commit that does not build
        // can make one of the splits uneven.
        assert!(
            script.boots <= log2(counting) + 5,
            "seed {seed}: {} boots for {counting} commits",
            script.boots
        );
        within += usize::from(script.boots <= log2(len) + 3);
        let Some(End::Found { parents, .. }) = &state.end else {
            unreachable!()
        };
        for commit in parents.iter().chain([&id(culprit_is)]) {
            assert!(
                state.known(commit).tally.boots() >= 2,
                "seed {seed}: {commit}"
            );
            assert!(
                state.test(commit).is_some_and(|t| t.image.is_some()),
                "seed {seed}: {commit} was never built"
            );
        }
    }
    println!("{within} of 2000 within log2(N) + 3 boots");
    assert!(within >= 1980, "{within} of 2000 within log2(N) + 3 boots");
}

/// Verify that with merges and several culprits what is found is a culprit.
#[test]
fn merges_and_several_culprits() {
    for seed in 0..1500 {
        let mut dice = Dice::new(seed);
        let len = 2 + dice.below(60);
        let shape = Shape::with_merges(len, &mut dice);
        let culprits: Vec<usize> = (0..=dice.below(3)).map(|_| dice.below(len)).collect();
        if !shape.has(len - 1, &culprits) {
            continue;
        }
        let mut script = Script::new(shape, culprits.clone(), seed);
        let found = culprit(&run(&mut script));
        assert!(
            found.is_some_and(|f| culprits.contains(&f)),
            "seed {seed}: {found:?}"
        );
    }
}

/// Verify that a bisection that is cut off after any of its boots goes on where
/// it was, comes to the same end, and boots nothing twice for it.
#[test]
fn cut_off_anywhere() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let make = |seed| {
            let mut script = Script::new(Shape::line(70), vec![11 + seed as usize], seed);
            script.unbuildable[30] = true;
            script.quiet[40] = true;
            script
        };
        let whole = run(&mut make(seed));
        let mut script = make(seed);
        script.power = dice.below(whole.starts());
        let mut state = State::new(script.asked());
        assert!(drive(&mut state, &mut script).is_err());
        let on_disk = script.saved.clone().unwrap_or(state);
        let text = serde_json::to_string(&on_disk).expect("it can be written");
        let mut back: State = serde_json::from_str(&text).expect("and read");
        script.power = usize::MAX;
        drive(&mut back, &mut script).expect("nothing cuts it off");
        assert_eq!(back.end, whole.end, "seed {seed}");
        assert_eq!(back.starts(), whole.starts(), "seed {seed}");
    }
}

/// Verify that ends that do not differ stop it, before anything else is booted.
#[test]
fn no_difference_stops() {
    let mut none = Script::new(Shape::line(64), vec![], 1);
    let end = run(&mut none).end;
    assert!(
        matches!(&end, Some(End::NoDifference(why)) if why.contains("passes at both ends")),
        "{end:?}"
    );
    assert_eq!(none.boots, 2);
    let mut all = Script::new(Shape::line(64), vec![3], 1);
    all.fails = (1.0, 1.0);
    let end = run(&mut all).end;
    assert!(
        matches!(&end, Some(End::NoDifference(why)) if why.contains("fails at both ends")),
        "{end:?}"
    );
    let mut quiet = Script::new(Shape::line(64), vec![], 1);
    quiet.quiet = vec![true; 64];
    let end = run(&mut quiet).end;
    assert!(
        matches!(&end, Some(End::NoDifference(why)) if why.contains("byte for byte")),
        "{end:?}"
    );
    assert_eq!(quiet.boots, 1, "the same kernel was booted twice");
    let mut broken = Script::new(Shape::line(64), vec![3], 1);
    broken.unbuildable[63] = true;
    let end = run(&mut broken).end;
    assert!(
        matches!(&end, Some(End::NoDifference(why)) if why.contains("bad end cannot be tested")),
        "{end:?}"
    );
}

/// Verify that of a flaky case the wrong commit is hardly ever named: never
/// with more than the stated doubt, and that "cannot tell" is rare.
#[test]
fn flaky_cases() {
    for (fails, said) in [((0.6, 0.0), true), ((0.5, 0.0), true), ((0.9, 0.1), true)] {
        let (mut right, mut wrong, mut undecided) = (0, 0, 0);
        for seed in 0..400 {
            let culprit_is = 5 + Dice::new(seed).below(50);
            let mut script = Script::new(Shape::line(64), vec![culprit_is], seed * 7 + 1);
            script.fails = fails;
            let mut state = State::new(Asked {
                flaky: said,
                ..script.asked()
            });
            drive(&mut state, &mut script).expect("a script does not fail");
            match culprit(&state) {
                Some(found) if found == culprit_is => right += 1,
                Some(_) => wrong += 1,
                None => undecided += 1,
            }
        }
        println!("{fails:?}: {right} right, {wrong} wrong, {undecided} undecided");
        assert!(
            right >= 370,
            "{fails:?}: {right} right, {wrong} wrong, {undecided} undecided"
        );
        assert!(
            wrong <= 20,
            "{fails:?}: {right} right, {wrong} wrong, {undecided} undecided"
        );
    }
}

/// Verify that one boot gone wrong, anywhere, of a case that is not flaky does
/// not have the wrong commit named.
#[test]
fn one_false_answer() {
    struct OneFalse(Script, usize);
    impl Lab for OneFalse {
        fn line(&mut self, of: &str, most: usize) -> Result<Vec<String>> {
            self.0.line(of, most)
        }
        fn history(&mut self, good: &[String], bad: &str, all: bool) -> Result<History> {
            self.0.history(good, bad, all)
        }
        fn parents(&mut self, commit: &str) -> Result<Vec<String>> {
            self.0.parents(commit)
        }
        fn same_files(&mut self, commit: &str, built: &str) -> Result<bool> {
            self.0.same_files(commit, built)
        }
        fn build(&mut self, commit: &str) -> Result<Built> {
            self.0.build(commit)
        }
        fn boot(&mut self, commit: &str) -> Result<Boot> {
            if self.0.boots == self.1 {
                self.0.fails = (0.0, 1.0);
            }
            let boot = self.0.boot(commit);
            self.0.fails = (1.0, 0.0);
            boot
        }
        fn looking(&self) -> Looking {
            Looking::ForBreakage
        }
        fn save(&mut self, state: &State) -> Result<()> {
            self.0.save(state)
        }
        fn tell(&mut self, _: &State, _: Option<&History>, _: &str) {}
    }
    let (mut right, mut stopped) = (0, 0);
    for culprit_is in 0..64 {
        for wrong_boot in 0..12 {
            let script = Script::new(Shape::line(64), vec![culprit_is], 1);
            let mut state = State::new(script.asked());
            let mut lab = OneFalse(script, wrong_boot);
            drive(&mut state, &mut lab).expect("a script does not fail");
            match culprit(&state) {
                Some(found) => {
                    assert_eq!(found, culprit_is, "boot {wrong_boot} was wrong");
                    right += 1;
                }
                // Only a false end is not overcome, and then it says so.
                None => {
                    assert!(wrong_boot < 2, "boot {wrong_boot}: {:?}", state.end);
                    stopped += 1;
                }
            }
        }
    }
    assert!(right >= 64 * 10 && stopped <= 64 * 2, "{right} {stopped}");
}

/// Verify that a commit that was taken for one that does not count is found
/// nevertheless: the parent of whatever is found is booted.
#[test]
fn culprit_that_did_not_count() {
    for culprit_is in 0..63 {
        let mut script = Script::new(Shape::line(64), vec![culprit_is], 1);
        script.taken_for_quiet[culprit_is] = true;
        let state = run(&mut script);
        assert_eq!(culprit(&state), Some(culprit_is));
    }
}

/// Verify that without a good end one is found by going back twice as far each
/// time, and the culprit after it.
#[test]
fn good_end_is_searched_for() {
    for culprit_is in 1..100 {
        let mut script = Script::new(Shape::line(100), vec![culprit_is], 1);
        script.unbuildable[98] = culprit_is != 98 && culprit_is != 99;
        let mut state = State::new(Asked {
            good: vec![],
            ..script.asked()
        });
        drive(&mut state, &mut script).expect("a script does not fail");
        assert_eq!(culprit(&state), Some(culprit_is), "{:?}", state.end);
        assert!(script.boots <= 2 * 7 + 3, "{} boots", script.boots);
    }
    let mut always = Script::new(Shape::line(100), vec![0], 1);
    always.fails = (1.0, 1.0);
    let mut state = State::new(Asked {
        good: vec![],
        ..always.asked()
    });
    drive(&mut state, &mut always).expect("a script does not fail");
    assert!(matches!(&state.end, Some(End::NoDifference(why)) if why.contains("--good")));
}

/// Verify that a failure that came, went and came again is put on one of the
/// commits that brought it.
#[test]
fn came_and_went() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let first = dice.below(20);
        let mended = first + 1 + dice.below(20);
        let again = mended + 1 + dice.below(20);
        let mut script = Script::new(Shape::line(64), vec![first], seed);
        script.mended = Some(mended..again);
        let found = culprit(&run(&mut script));
        assert!(
            found == Some(first) || found == Some(again),
            "seed {seed}: {found:?}"
        );
    }
}
