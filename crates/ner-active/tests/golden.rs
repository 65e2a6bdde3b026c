//! Core-set, hybrid and BADGE choose the same as numpy (`golden.py`), and a stream keeps to its budget.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "helpers of tests may unwrap as tests do")]

use ner_active::diversity::{k_center, k_means_plus_plus};
use ner_active::{Budget, Cost, Offer, Rows, Selector, Strategy, Unit, chance};
use serde_json::Value;

fn rows(value: &Value) -> Rows {
    let mut rows = Rows::new();
    for row in value.as_array().unwrap() {
        rows.push(&numbers(row).into_iter().map(|value| value as f32).collect::<Vec<_>>());
    }
    rows
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[test]
fn choices_are_those_of_numpy() {
    let cases: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let (all, known) = (rows(&case["rows"]), rows(&case["known"]));
        let weights = numbers(&case["weights"]);
        let choose = |choose: &dyn Fn(&mut dyn FnMut(usize) -> bool)| {
            let mut chosen = Vec::new();
            choose(&mut |at| {
                let room = chosen.len() < 15;
                chosen.extend(room.then_some(at));
                room
            });
            chosen
        };
        let check = |found: Vec<usize>, key: &str| assert_eq!(serde_json::json!(found), case[key], "{key}");
        check(choose(&|take| k_center(&all, None, &known, take)), "k_center");
        check(choose(&|take| k_center(&all, Some(&weights), &known, take)), "weighted");
        let drawn = choose(&|take| {
            let mut draws = numbers(&case["draws"]).into_iter();
            k_means_plus_plus(&all, || draws.next().unwrap_or(0.5), take);
        });
        check(drawn, "k_means_plus_plus");
    }
}

fn select(strategy: Strategy, items: usize, budget: Budget, seed: u64) -> (Vec<usize>, usize, usize) {
    let mut selector = Selector::new(strategy, budget, seed);
    for place in 0..items {
        let row: Vec<f32> = (0..8).map(|at| chance(at, place as u64) as f32).collect();
        let score = Some(chance(99, place as u64));
        let cost = Cost { words: 5 + place % 20, sentences: 1 };
        selector.offer(Offer { cost, score, row: &row, item: place });
    }
    let bytes = selector.held_bytes();
    let chosen = selector.finish(&Rows::new());
    assert!(chosen.iter().all(|chosen| chosen.place == chosen.item && chosen.score.is_finite()));
    let spent = chosen.iter().map(|chosen| chosen.cost.of(budget.unit)).sum();
    (chosen.into_iter().map(|chosen| chosen.place).collect(), spent, bytes)
}

#[test]
fn every_strategy_keeps_to_its_budget_and_repeats_itself() {
    let words = Budget { amount: 300, unit: Unit::Words };
    for strategy in Strategy::ALL {
        for budget in [words, Budget { amount: 7, unit: Unit::Sentences }, Budget { amount: 3, unit: Unit::Documents }]
        {
            let (chosen, spent, bytes) = select(strategy, 500, budget, 1);
            let mut once = chosen.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), chosen.len(), "{strategy}: one was chosen twice");
            let room = if budget.unit == Unit::Words { 25 } else { 1 };
            assert!(spent <= budget.amount && spent + room > budget.amount, "{strategy}: {spent} of {budget}");
            assert_eq!(select(strategy, 500, budget, 1).0, chosen, "{strategy}");
            let holds_all = matches!(strategy, Strategy::CoreSet | Strategy::Badge);
            assert_eq!(bytes, if holds_all { 500 * 8 * 4 } else { 0 }, "{strategy}");
        }
    }
    assert_ne!(select(Strategy::Random, 500, words, 1).0, select(Strategy::Random, 500, words, 2).0);
    assert_eq!(select(Strategy::Badge, 2, words, 1).0.len(), 2, "a pool may be smaller than a budget");
    assert!(select(Strategy::CoreSet, 0, words, 1).0.is_empty());
}
