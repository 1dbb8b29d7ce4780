//! `usher draw`: what a gate published, recomputed.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};

use super::Failure;
use crate::domain::id::PlaceNumber;
use crate::gate::draw::Published;

#[derive(Debug, Args)]
pub(super) struct DrawArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Recompute a published draw (GET /queue/draw after the opening); exit 1 when anything does not fit.
    Verify {
        /// The document.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The commitment as it was published before the opening.
        #[arg(long, value_name = "HEX")]
        commitment: Option<String>,
        /// Say which rank this number drew.
        #[arg(long, value_name = "N")]
        number: Option<u64>,
    },
}

/// The answer for standard output.
pub(super) fn run(args: &DrawArgs) -> Result<String, Failure> {
    let Act::Verify { file, commitment, number } = &args.act;
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|why| Failure::Settings(format!("{name}: {why}")))?;
    Ok(verify(&text, commitment.as_deref(), *number).with_context(|| name.to_string())?)
}

fn verify(text: &str, commitment: Option<&str>, number: Option<u64>) -> anyhow::Result<String> {
    let published: Published = serde_json::from_str(text).context("no published draw")?;
    if commitment.is_some_and(|before| !before.eq_ignore_ascii_case(&published.commitment)) {
        bail!("another commitment was published before: {}", published.commitment);
    }
    let draw = published.verified()?;
    let count = draw.count();
    let mut said = format!("room {:?}: the draw of {count} places is what was committed to", published.room);
    if commitment.is_none() {
        said.push_str("\nwhether that was published before the opening is for you to compare: ");
        said.push_str(&published.commitment);
    }
    if let Some(number) = number {
        let rank = draw.order().rank(PlaceNumber(number));
        let rank = rank.ok_or_else(|| anyhow!("number {number} is not in the draw"))?;
        said.push_str(&format!("\nnumber {number} drew rank {rank} of {count}"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draw::Draw;
    use crate::domain::id::Epoch;
    use crate::domain::time::Timestamp;

    fn published() -> Published {
        let draw = Draw::new([7; 32], PlaceNumber(10), |_| true);
        Published::all(&"main".parse().expect("a name"), Epoch(1), Timestamp::from_millis(5), &draw)
    }

    fn told(published: &Published, commitment: Option<&str>, number: Option<u64>) -> Result<String, String> {
        let text = serde_json::to_string(published).expect("plain data");
        verify(&text, commitment, number).map_err(|why| format!("{why:#}"))
    }

    #[test]
    fn a_good_document_is_told_so_and_who_came_first() {
        let good = published();
        let said = told(&good, Some(&good.commitment), Some(8)).expect("good");
        assert!(said.ends_with("number 8 drew rank 1 of 9"), "{said}");
        assert!(told(&good, None, None).expect("good").contains(&good.commitment));
        assert!(told(&good, None, Some(10)).expect_err("late").contains("not in the draw"));
    }

    #[test]
    fn whatever_was_changed_is_named() {
        let good = published();
        let other = "00".repeat(32);
        let entries = Some("f8A=".replace('8', "4"));
        let cases = [
            (Published { secret: Some(other.clone()), ..good.clone() }, "the secret is not"),
            (Published { commitment: other.clone(), ..good.clone() }, "the secret is not"),
            (Published { digest: Some(other.clone()), ..good.clone() }, "do not have this digest"),
            (Published { entries, ..good.clone() }, "do not have this digest"),
            (Published { count: Some(8), ..good.clone() }, "9 entries"),
            (Published { next: Some(9), ..good.clone() }, "do not fit"),
            (Published { next: None, ..good.clone() }, "next is missing"),
            (Published { secret: Some("x".repeat(64)), ..good.clone() }, "secret is missing"),
            (Published { method: "mine".into(), ..good.clone() }, "the method is not"),
            (Published { drawn: false, ..good.clone() }, "has not taken place"),
        ];
        for (changed, why) in cases {
            let said = told(&changed, None, None).expect_err(why);
            assert!(said.contains(why), "{said}");
        }
        assert!(told(&good, Some(&other), None).expect_err("another").contains("published before"));
        assert!(verify("{}", None, None).is_err());
    }
}
