//! Formulas: what they come to, and what is wrong with others.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "trigger_one", "trigger_two"];

fn value(text: &str) -> Result<Option<f64>, FormulaError> {
    Formula::parse(text, &NAMES)?.evaluate(&[Some(6.0), Some(2.0), Some(2.0), Some(5.0)])
}

#[test]
fn results() {
    let rows = [
        // TestScalingModifiersFormula of scale_handler_test.go, TestCalculateScalingModifiersFormula of formula_test.go.
        ("trigger_one + trigger_two", 7.0),
        // Numbers.
        ("1_000 + .5 + 1e2 + 2.5E-1 + 3.", 1_103.75),
        ("-a", -6.0),
        ("+a", 6.0),
        // Precedence: powers from the right, then signs, products, sums.
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("10 - 4 - 3", 3.0),
        ("12 / 3 / 2", 2.0),
        ("2 ** 3 ^ 2", 512.0),
        ("-2 ** 2", -4.0),
        ("2 ** -1", 0.5),
        ("-a * b", -12.0),
        ("7 % 4 + int(a) % 4", 5.0),
        ("-7 % 4", -3.0),
        ("1 / 2", 0.5),
        ("a / 0", f64::INFINITY),
        // Comparison and logic.
        ("a > 6 ? 1 : 0", 0.0),
        ("a >= 6 ? 1 : 0", 1.0),
        ("a < b || a == 6 && b != 3 ? 1 : 0", 1.0),
        ("not (a < b) and !(b > a) ? 1 : 0", 1.0),
        ("not true or true ? 1 : 0", 1.0),
        ("1 < b < 3 ? 1 : 0", 1.0),
        ("1 < b < a < 5 ? 1 : 0", 0.0),
        ("true == (a > b) ? 1 : 0", 1.0),
        ("a > b ? b > 5 ? 1 : 2 : 3", 2.0),
        ("a > b ? 3 : b > 5 ? 1 : 2", 3.0),
        // What is not chosen is not evaluated.
        ("true ? 1 : max(filter([a], # > 9))", 1.0),
        ("true || 1 % 0 == 0 ? 1 : 0", 1.0),
        // Functions.
        ("max(a, b, 9)", 9.0),
        ("min([a, b], 3)", 2.0),
        ("sum([a, b, 1])", 9.0),
        ("sum([])", 0.0),
        ("mean(a, b)", 4.0),
        ("mean([])", 0.0),
        ("median(a, b, 3)", 3.0),
        ("median([a, b, 3, 4])", 3.5),
        ("median([])", 0.0),
        ("abs(b - a)", 4.0),
        ("ceil(1.2) + floor(1.8)", 3.0),
        ("round(2.5) + round(-2.5) + round(2.4)", 2.0),
        ("int(2.9) + int(-2.9)", 0.0),
        ("float(3) / 2", 1.5),
        ("len([a, b])", 2.0),
        // Predicates, with and without braces; the inner one asks about its own elements.
        ("count([a, b, 4], {# > 3})", 2.0),
        ("count([trigger_one, trigger_two], # > 1) > 1 ? 5 : 0", 5.0),
        ("all([a, b], # > 1) and any([a, b], # > 5) and none([a], # > 9) and one([a, b], # > 5) ? 1 : 0", 1.0),
        ("sum(filter([a, b, 4], {# < 5}))", 6.0),
        ("max(map([a, b], # * 2))", 12.0),
        ("sum([a, b], # + 1)", 10.0),
        ("count([1, 2, 3], count([1, 2], # == 2) == 1 and # > 1)", 2.0),
        // Upstream casts the result to a float itself, or leaves a cast that is there.
        ("float(a > b ? 1 : 2)", 1.0),
    ];
    for (text, expected) in rows {
        assert_eq!(value(text), Ok(Some(expected)), "{text}");
    }
}

#[test]
fn triggers_without_a_value() {
    let rows = [
        ("a ?? b", Ok(Some(2.0))),
        ("a ?? 5", Ok(Some(5.0))),
        ("(a ?? 5) + b", Ok(Some(7.0))),
        ("a ?? nil", Ok(None)),
        ("a", Ok(None)),
        ("a == nil ? 1 : 0", Ok(Some(1.0))),
        ("b == nil ? 1 : 0", Ok(Some(0.0))),
        ("a != b ? 1 : 0", Ok(Some(1.0))),
        ("b ?? a", Ok(Some(2.0))),
        ("a + b", Err("position 1: found nil, expected a number")),
        ("b + sum([b, a])", Err("position 13: found nil, expected a number")),
        ("max(a, b)", Err("position 5: found nil, expected a number")),
        ("a > b ? 1 : 0", Err("position 1: found nil, expected a number")),
    ];
    for (text, expected) in rows {
        let formula = Formula::parse(text, &NAMES).expect(text);
        let found = formula.evaluate(&[None, Some(2.0)]).map_err(|e| e.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn what_is_wrong_and_where() {
    let rows = [
        ("", "position 1: found the end, expected a number, a name, a function, an array or a parenthesis"),
        ("a +", "position 4: found the end, expected a number, a name, a function, an array or a parenthesis"),
        ("a b", "position 3: found `b`, expected an operator or the end"),
        ("(a", "position 3: found the end, expected `)`"),
        ("a @ b", "position 3: found `@`, expected a number, a name, an operator or a parenthesis"),
        ("a + c", "position 5: found `c`, expected the name of a trigger: a, b, trigger_one, trigger_two"),
        ("[a, b", "position 6: found the end, expected `,` or `]`"),
        ("a ? 1 : 2", "position 1: found a number, expected a truth value"),
        ("a > b", "position 1: found a truth value, expected a number as the result of the formula"),
        ("[a]", "position 1: found an array, expected a number as the result of the formula"),
        ("a > b ? 1 : true", "position 13: found a truth value, expected a whole number"),
        ("a > b ? 1", "position 10: found the end, expected `:`"),
        ("a + (a > b)", "position 6: found a truth value, expected a number"),
        ("not a ? 1 : 0", "position 5: found a number, expected a truth value"),
        ("a % 2", "position 1: found a number, expected a whole number on both sides of `%`, as int(...) gives"),
        ("5 % b", "position 5: found a number, expected a whole number on both sides of `%`, as int(...) gives"),
        ("#", "position 1: found `#`, expected `#` only inside of a predicate"),
        ("count([a], {#})", "position 13: found a number, expected a truth value"),
        ("count([a])", "position 10: found `)`, expected `,`"),
        ("count(a, # > 1)", "position 7: found a number, expected an array"),
        ("abs()", "position 1: found 0 arguments, expected one argument for abs"),
        ("max()", "position 1: found no arguments, expected at least one for max"),
        ("max(a > b)", "position 5: found a truth value, expected a number"),
        ("a ?? b + 1", "position 8: found `+`, expected parentheses around what `??` joins"),
        ("nil + 1", "position 1: found nil, expected a number"),
        ("[a] == [b] ? 1 : 0", "position 5: found two arrays, expected numbers or truth values to compare"),
        ("let + a", "position 1: found `let`, expected the name of a trigger: a, b, trigger_one, trigger_two"),
        (
            "avg(a, b)",
            "position 1: found `avg`, expected one of the functions max, min, mean, median, sum, len, abs, ceil, floor, \
             round, int, float, count, all, any, none, one, filter, map",
        ),
        // Found only when evaluated.
        ("max([])", "position 1: found an array without elements, expected at least one element"),
        ("5 % int(b - 2)", "position 5: found 0, expected a divisor of `%` other than 0"),
    ];
    for (text, sentence) in rows {
        assert_eq!(value(text).map_err(|e| e.to_string()), Err(sentence.to_owned()), "{text}");
    }
    assert_eq!(
        Formula::parse("a", &[]).expect_err("no names").to_string(),
        "position 1: found `a`, expected no name: no trigger has one"
    );
}

#[test]
fn long_and_deep_formulas_are_refused() {
    let long = vec!["a"; 400].join(" + ");
    assert_eq!(value(&long), Ok(Some(2_400.0)));
    let longer = vec!["a"; 600].join(" + ");
    assert!(value(&longer).expect_err("too long").expected.contains("1000 tokens"));
    for (open, close) in [("(", ")"), ("-", ""), ("not ", ""), ("true ? 1 : ", ""), ("abs(", ")"), ("2 ** ", "")] {
        let deep = |n: usize| format!("{}a{}", open.repeat(n), close.repeat(n));
        assert!(value(&deep(100)).expect_err(open).expected.contains("50 deep"), "{open}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in "[-ab0-9.()\\[\\]{}#?:<>=!&|+*/%^, \\PC]{0,60}") {
        if let Ok(formula) = Formula::parse(&text, &NAMES) {
            let _ = formula.evaluate(&[Some(1.5), None]);
        }
    }

    #[test]
    fn nor_is_any_sequence_of_words(words in prop::collection::vec(prop::sample::select(vec![
        "a", "b", "1", "0", ".5", "(", ")", "[", "]", "{", "}", "#", "?", ":", "??", "+", "-", "*", "/", "%", "**",
        "<", "==", "&&", "not", "or", "nil", "true", ",", "max(", "count(", "sum(", "int(", "median(",
    ]), 0..14)) {
        if let Ok(formula) = Formula::parse(&words.join(" "), &NAMES) {
            let _ = formula.evaluate(&[Some(1.5), None]);
            let _ = formula.evaluate(&[Some(-1.0), Some(f64::INFINITY)]);
        }
    }
}
