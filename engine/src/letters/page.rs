//! The page of a letter. Mail programs know little: tables, styles at each element, nothing from elsewhere. Dark colours come from the one
//! style sheet, where a program reads it; where it does not, the light ones stay readable, also turned round by the program itself.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::draft::Part;

const STYLE: &str = "\
:root{color-scheme:light dark;supported-color-schemes:light dark}\
@media (prefers-color-scheme:dark){\
.lb-body{background:#12161c!important}\
.lb-card{background:#1c222b!important;border-color:#37404d!important}\
.lb-text{color:#e6e9ee!important}\
.lb-soft{color:#a8b2c0!important}\
.lb-code{background:#12161c!important;color:#ffffff!important;border-color:#37404d!important}\
.lb-button{background:#4c8dff!important;color:#0b1220!important}\
.lb-link{color:#8ab4ff!important}}";

const BODY: &str = "margin:0;padding:0;background:#f2f4f7";
const CARD: &str =
    "max-width:560px;width:100%;background:#ffffff;border:1px solid #d9dee6;border-radius:8px;border-collapse:separate";
const CELL: &str = "padding:28px 32px;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const BRAND: &str =
    "margin:0 0 20px;font-size:13px;line-height:18px;font-weight:600;letter-spacing:.04em;color:#5a6472";
const HEADING: &str =
    "margin:0 0 16px;font-size:20px;line-height:28px;font-weight:600;color:#1a2230;overflow-wrap:anywhere";
const TEXT: &str = "margin:0 0 16px;font-size:16px;line-height:24px;color:#1a2230;overflow-wrap:anywhere";
const CODE: &str = "margin:0 0 20px;padding:14px 16px;font-family:ui-monospace,Menlo,Consolas,monospace;font-size:20px;line-height:28px;\
                    color:#1a2230;background:#f2f4f7;border:1px solid #d9dee6;border-radius:6px;overflow-wrap:anywhere";
const FACTS: &str = "margin:0 0 20px;width:100%;border-collapse:collapse";
const NAME: &str =
    "padding:4px 16px 4px 0;font-size:14px;line-height:20px;color:#5a6472;vertical-align:top;white-space:nowrap";
const VALUE: &str =
    "padding:4px 0;font-size:14px;line-height:20px;color:#1a2230;vertical-align:top;width:100%;overflow-wrap:anywhere";
const BUTTON: &str = "display:inline-block;padding:12px 20px;font-size:16px;line-height:20px;font-weight:600;color:#ffffff;background:#1f5fd6;\
                      text-decoration:none;border-radius:6px";
const SOFT: &str = "margin:0 0 16px;font-size:13px;line-height:20px;color:#5a6472;overflow-wrap:anywhere";
const LINK: &str = "color:#1f5fd6";

/// The page.
pub(super) fn of(subject: &str, parts: &[Part]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                meta name="supported-color-schemes" content="light dark";
                title { (subject) }
                style { (PreEscaped(STYLE)) }
            }
            body class="lb-body" style=(BODY) {
                table class="lb-body" role="presentation" width="100%" cellpadding="0" cellspacing="0" style=(BODY) {
                    tr { td align="center" style="padding:24px 12px" {
                        table class="lb-card" role="presentation" cellpadding="0" cellspacing="0" style=(CARD) {
                            tr { td align="left" style=(CELL) {
                                p class="lb-soft" style=(BRAND) { "ListBackup" }
                                h1 class="lb-text" style=(HEADING) { (subject) }
                                @for part in parts { (markup(part)) }
                            } }
                        }
                    } }
                }
            }
        }
    };
    page.into_string()
}

fn markup(part: &Part) -> Markup {
    match part {
        Part::Paragraph(text) => html! { p class="lb-text" style=(TEXT) { (text) } },
        Part::Code(code) => html! { p class="lb-code" style=(CODE) { (code) } },
        Part::Facts(facts) => html! {
            table role="presentation" cellpadding="0" cellspacing="0" style=(FACTS) {
                @for (name, value) in facts {
                    tr {
                        td class="lb-soft" style=(NAME) { (name) }
                        td class="lb-text" style=(VALUE) { bdi { (value) } }
                    }
                }
            }
        },
        Part::Link { label, url } => html! {
            p style="margin:4px 0 12px" { a class="lb-button" href=(url) style=(BUTTON) { (label) } }
            p class="lb-soft" style=(SOFT) { "Or open " a class="lb-link" href=(url) style=(LINK) { (url) } }
        },
    }
}
