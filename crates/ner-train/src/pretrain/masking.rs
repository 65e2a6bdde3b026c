use ner_model::MaskedTokens;
use rand::Rng;
use rand::seq::SliceRandom;
use std::ops::Range;

/// Chooses pieces of a row to predict, replaces most of them, and returns their positions, ascending, with the original
/// pieces.
///
/// `units` are the positions of the pieces or words to choose from; a unit is chosen whole or not at all. Units are
/// chosen in random order until `share` of all their pieces is reached; one that would exceed it is skipped, but a row
/// with a unit has at least one. Of the chosen pieces, 80 % become `mask_id`, 10 % a random one of the `pieces` of the
/// vocabulary, and 10 % stay, each piece by itself.
///
/// Source: Devlin et al. (2019), section 3.1 and appendix A.1; google-research/bert, `create_masked_lm_predictions`.
pub fn mask_row(
    input_ids: &mut [u32],
    units: &[Range<usize>],
    share: f64,
    mask_id: u32,
    pieces: u32,
    random: &mut impl Rng,
) -> MaskedTokens {
    let all: usize = units.iter().map(Range::len).sum();
    let wanted = ((all as f64 * share).round() as usize).max(1);
    let mut order: Vec<&Range<usize>> = units.iter().collect();
    order.shuffle(random);
    let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
    for unit in order {
        if chosen.len() == wanted {
            break;
        }
        if chosen.is_empty() || chosen.len() + unit.len() <= wanted {
            chosen.extend(unit.clone());
        }
    }
    chosen.sort_unstable();
    let masked = chosen.into_iter().map(|position| {
        let piece = input_ids[position];
        input_ids[position] = match random.random_range(0..10) {
            0 => random.random_range(0..pieces),
            1 => piece,
            _ => mask_id,
        };
        (position, piece)
    });
    masked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    proptest! {
        #[test]
        fn whole_units_are_chosen_and_no_more_than_asked(
            lengths in prop::collection::vec(1usize..6, 1..60), share in 0.01f64..0.6, seed: u64,
        ) {
            let ends = lengths.iter().scan(1, |end, length| { *end += length; Some(*end) });
            let units: Vec<Range<usize>> = ends.zip(&lengths).map(|(end, length)| end - length..end).collect();
            let all: usize = lengths.iter().sum();
            let before: Vec<u32> = (100..102 + all as u32).collect();
            let mut after = before.clone();
            let masked = mask_row(&mut after, &units, share, 4, 50, &mut SmallRng::seed_from_u64(seed));
            let is_chosen = |position: usize| masked.iter().any(|&(chosen, _)| chosen == position);
            for unit in &units {
                prop_assert!(unit.clone().all(is_chosen) || !unit.clone().any(is_chosen));
            }
            let wanted = ((all as f64 * share).round() as usize).max(1);
            prop_assert!(!masked.is_empty() && (masked.len() <= wanted || masked.len() <= 5));
            // Special tokens and the rest of the row stay.
            for (position, (old, new)) in before.iter().zip(&after).enumerate() {
                prop_assert!(is_chosen(position) || old == new);
            }
            prop_assert!(masked.iter().all(|&(position, piece)| before[position] == piece));
            prop_assert!(masked.is_sorted());
        }
    }

    #[test]
    fn of_the_chosen_pieces_most_are_masked_a_tenth_is_random_and_a_tenth_stays() {
        let units: Vec<Range<usize>> = (0..1000).map(|at| at..at + 1).collect();
        let mut random = SmallRng::seed_from_u64(1);
        let (mut chosen, mut masked, mut kept) = (0, 0, 0);
        for _ in 0..40 {
            let mut row = vec![1000; 1000];
            for (position, piece) in mask_row(&mut row, &units, 0.15, 4, 900, &mut random) {
                chosen += 1;
                masked += usize::from(row[position] == 4);
                kept += usize::from(row[position] == piece);
            }
        }
        let share = |count: usize| count as f64 / chosen as f64;
        assert_eq!(chosen, 40 * 150);
        assert!((share(masked) - 0.8).abs() < 0.02 && (share(kept) - 0.1).abs() < 0.02, "{masked} {kept} {chosen}");
    }
}
