//! Every view of the waiting page as files, to look at.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use super::language::Language;
use super::own::{EXAMPLE, OwnPage};
use super::{Pages, Shown, View};
use crate::config::PageFile;

/// Writes a page for each view and language into `folder`, without script (it
/// would ask a gate that is not there), and an index that shows them; answers
/// the index.
///
/// # Errors
/// When the folder cannot be written, or the template cannot be shown.
pub fn write(own: Option<&PageFile>, folder: &Path) -> io::Result<PathBuf> {
    let pages = Pages::new();
    let own = own.map(|file| OwnPage::new(file, &pages)).transpose();
    let own = own.map_err(|why| io::Error::other(why.to_string()))?;
    std::fs::create_dir_all(folder)?;
    let mut index = String::from(INDEX);
    for (name, shown) in views() {
        _ = write!(index, "<section><h2>{name}</h2><p>");
        for language in Language::ALL {
            let page = match &own {
                Some(own) => own.page(&pages, language, &shown),
                None => pages.waiting(language, &shown),
            };
            let file = format!("{name}-{}.html", language.tag());
            std::fs::write(folder.join(&file), without_script(&String::from_utf8_lossy(&page.body)))?;
            _ = write!(index, "<a href=\"{file}\">{}</a> ", language.name());
        }
        _ = writeln!(
            index,
            "</p><iframe src=\"{name}-en.html\" title=\"{name}\" loading=\"lazy\"></iframe></section>"
        );
    }
    let path = folder.join("index.html");
    std::fs::write(&path, index + "</main>\n")?;
    Ok(path)
}

/// Every view, and what else changes how a page looks.
fn views() -> Vec<(String, Shown<'static>)> {
    let plain = Shown { message: None, stock: None, ..EXAMPLE };
    let mut views: Vec<_> = View::ALL
        .into_iter()
        .map(|view| {
            let (position, eta_seconds) = match view {
                View::Near => (Some(12), Some((10, 40))),
                _ => (plain.position, plain.eta_seconds),
            };
            (view.name().to_owned(), Shown { view, position, eta_seconds, ..plain })
        })
        .collect();
    let opens_in = Some(std::time::Duration::from_secs(1_500));
    views.extend([
        ("waiting-message-stock".to_owned(), EXAMPLE),
        ("waiting-paused".to_owned(), Shown { paused: true, eta_seconds: None, ..plain }),
        ("waiting-degraded".to_owned(), Shown { degraded: true, eta_seconds: None, ..plain }),
        ("waiting-opening".to_owned(), Shown { opens_in, ..plain }),
        (
            "waiting-draw".to_owned(),
            Shown { opens_in, draw_ahead: true, position: None, eta_seconds: None, ..plain },
        ),
    ]);
    views
}

/// The page without its scripts.
fn without_script(html: &str) -> String {
    let mut parts = html.split("<script");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |page, part| page + part.split_once("</script>").map_or("", |(_, after)| after))
}

const INDEX: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>The waiting page</title>\
<style>body{font:1rem/1.5 system-ui,sans-serif;margin:2rem}main{display:grid;gap:1.5rem;\
grid-template-columns:repeat(auto-fill,minmax(20rem,1fr))}h2{font-size:1rem;margin:0}\
iframe{width:100%;height:44rem;border:1px solid #999;border-radius:1rem}</style><h1>The waiting page</h1><main>\n";
