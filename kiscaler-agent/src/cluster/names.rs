//! What a workload calls its pods: those that are gone are in no list of the API, and in metrics by name alone.

use crate::api::ScaleTargetRef;

/// Characters of what Kubernetes makes up for a name (`SafeEncodeString`): no vowels, and no digits that look like one.
const MADE_UP: &str = "[bcdfghjklmnpqrstvwxz2456789]";

/// The API server makes a name of at most so many characters that are given, and five that it makes up.
const GIVEN: usize = 58;

/// The names of the pods that `target` has or had, as a regular expression (RE2) for the whole of a name.
///
/// | kind | names |
/// | --- | --- |
/// | Deployment | `NAME-HASH-SUFFIX` |
/// | ReplicaSet, ReplicationController | `NAME-SUFFIX` |
/// | StatefulSet | `NAME-0` and so on |
/// | others | whatever begins with `NAME-` |
///
/// Pods of a Deployment `a` are not taken for those of `a-b`, nor the other way round. What cannot be told apart by name:
/// pods of a Deployment `a` and those of a ReplicaSet or DaemonSet `a-b` of its own, if `b` has at most ten characters and
/// none but those that Kubernetes makes up; and pods of another kind `a` and whatever is called `a-…`.
pub fn pods_of(target: &ScaleTargetRef) -> String {
    let name: String = target.name.chars().map(literal).collect();
    match target.kind.as_str() {
        "Deployment" => {
            let usual = format!("{name}-{MADE_UP}{{1,10}}-{MADE_UP}{{5}}");
            // With the longest hash, and a dash on either side, the name may be cut.
            match GIVEN.checked_sub(target.name.len() + 1) {
                Some(room @ 0..=10) => format!("{usual}|{name}-{MADE_UP}{{{}}}", room + 5),
                Some(_) => usual,
                None => format!("{}{MADE_UP}{{5}}", target.name.chars().take(GIVEN).map(literal).collect::<String>()),
            }
        }
        "ReplicaSet" | "ReplicationController" => {
            let given: String = format!("{}-", target.name).chars().take(GIVEN).map(literal).collect();
            format!("{given}{MADE_UP}{{5}}")
        }
        "StatefulSet" => format!("{name}-[0-9]+"),
        _ => format!("{name}-.+"),
    }
}

/// A character as a regular expression within a text of PromQL: what names cannot have is any character.
fn literal(character: char) -> String {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => character.to_string(),
        '.' => "[.]".to_owned(),
        _ => ".".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn pattern(kind: &str, name: &str) -> Regex {
        let target = ScaleTargetRef { api_version: "apps/v1".into(), kind: kind.into(), name: name.into() };
        // Prometheus anchors what it matches.
        Regex::new(&format!("^(?:{})$", pods_of(&target))).unwrap()
    }

    fn check(kind: &str, name: &str, own: &[&str], others: &[&str]) {
        let pattern = pattern(kind, name);
        for pod in own {
            assert!(pattern.is_match(pod), "{kind} {name} has {pod}: {pattern}");
        }
        for pod in others {
            assert!(!pattern.is_match(pod), "{kind} {name} has no {pod}: {pattern}");
        }
    }

    #[test]
    fn pods_of_a_deployment_are_told_from_those_of_another() {
        let own = ["triton-7d4b9c6f85-x2x4z", "triton-59fcb-bbbbb"];
        let others = [
            "triton",
            "triton-7d4b9c6f85",
            "triton-cpu-7d4b9c6f85-x2x4z",
            "my-triton-7d4b9c6f85-x2x4z",
            // Kubernetes makes up no vowel, no 0, 1 or 3, and no other number of characters.
            "triton-7d4b9c6f85-x2x4a",
            "triton-7d4b9c6f81-x2x4z",
            "triton-7d4b9c6f85-x2x4",
            "triton-7d4b9c6f85-x2x4zz",
            "triton-0",
        ];
        check("Deployment", "triton", &own, &others);
        check("Deployment", "triton-cpu", &["triton-cpu-7d4b9c6f85-x2x4z"], &own);
        // A dot is no other character.
        check("Deployment", "a.b", &["a.b-59fcb-bbbbb"], &["a-b-59fcb-bbbbb", "axb-59fcb-bbbbb"]);
    }

    #[test]
    fn long_names_are_cut_as_the_api_server_cuts_them() {
        let hash = "7d4b9c6f85";
        for length in 40..=63 {
            let name = "n".repeat(length);
            let mut pod = format!("{name}-{hash}-");
            pod.truncate(GIVEN);
            check("Deployment", &name, &[&format!("{pod}x2x4z")], &[&format!("{pod}x2x4zz")]);
        }
    }

    #[test]
    fn other_kinds_have_their_own_names() {
        check(
            "StatefulSet",
            "triton",
            &["triton-0", "triton-17"],
            &["triton", "triton-a", "triton-cpu-0", "triton-0-0"],
        );
        check("ReplicaSet", "triton", &["triton-x2x4z"], &["triton-7d4b9c6f85-x2x4z", "triton-aaaaa"]);
        check("InferenceService", "triton", &["triton-predictor-0"], &["triton", "tritons-0"]);
        // What is no name asks for nothing else.
        let odd = pods_of(&ScaleTargetRef { api_version: "a/v1".into(), kind: "A".into(), name: "a\"}|(\\".into() });
        assert_eq!(odd, "a.....-.+");
    }
}
