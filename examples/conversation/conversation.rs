// Build: rustc --edition 2021 conversation.rs $(pkg-config --libs-only-L mossrt)
// Run:   ./conversation ../tiny-moss/model
use std::{ffi::c_void, ffi::CStr, io::Write, ptr::null, ptr::null_mut};

type P = *mut c_void; // any handle
type S = *const u8; // a text

#[link(name = "mossrt")]
extern "C" {
    fn mossrt_error_message(error: P) -> S;
    fn mossrt_error_free(error: P);
    fn mossrt_model_load(path: S, options: P, monitor: P, out: &mut P) -> P;
    fn mossrt_model_free(model: P);
    fn mossrt_model_tokenizer(model: P, out: &mut P) -> P;
    fn mossrt_tokenizer_free(tokenizer: P);
    fn mossrt_session_create(model: P, options: P, out: &mut P) -> P;
    fn mossrt_session_free(session: P);
    fn mossrt_options_create(kind: i32, out: &mut P) -> P;
    fn mossrt_options_merge_json(options: P, json: S, len: usize) -> P;
    fn mossrt_options_free(options: P);
    fn mossrt_chat_create(tokenizer: P, options: P, out: &mut P) -> P;
    fn mossrt_chat_free(chat: P);
    fn mossrt_chat_add_builtin_plugin(chat: P, name: S) -> P;
    fn mossrt_chat_send(chat: P, text: S, len: usize) -> P;
    fn mossrt_chat_advance(c: P, s: P, o: P, m: P, e: &mut i32, t: &mut S, l: P, v: P, n: P) -> P;
}
const EVENTS: [&str; 7] = ["", "thought", "command", "result", "answer", "citation", "notice"];
const NONE: P = null_mut();

struct Handle(P, unsafe extern "C" fn(P)); // and what frees it
impl Drop for Handle {
    fn drop(&mut self) {
        unsafe { self.1(self.0) }
    }
}

fn check(error: P) -> Result<(), String> {
    let error = Handle(error, mossrt_error_free); // every free function takes NULL
    let message = unsafe { CStr::from_ptr(mossrt_error_message(error.0).cast()) };
    (error.0 == NONE).then_some(()).ok_or_else(|| message.to_string_lossy().into())
}

fn own(free: unsafe extern "C" fn(P), make: impl Fn(&mut P) -> P) -> Result<Handle, String> {
    let mut handle = Handle(NONE, free);
    check(make(&mut handle.0)).map(|()| handle)
}

fn main() -> Result<(), String> {
    let path = std::env::args().nth(1).unwrap_or_default() + "\0";
    let (tools, seed) = (r#"{"plugins": ["Calculate"]}"#, r#"{"seed": 1}"#);
    unsafe {
        let model = own(mossrt_model_free, |m| mossrt_model_load(path.as_ptr(), NONE, NONE, m))?;
        let tokenizer = own(mossrt_tokenizer_free, |t| mossrt_model_tokenizer(model.0, t))?;
        let session = own(mossrt_session_free, |s| mossrt_session_create(model.0, NONE, s))?;
        let options = |kind| own(mossrt_options_free, |o| mossrt_options_create(kind, o));
        let (plugins, sampling) = (options(8)?, options(3)?); // OPTIONS_CHAT, OPTIONS_GENERATE
        check(mossrt_options_merge_json(plugins.0, tools.as_ptr(), tools.len()))?;
        check(mossrt_options_merge_json(sampling.0, seed.as_ptr(), seed.len()))?;
        let chat = own(mossrt_chat_free, |c| mossrt_chat_create(tokenizer.0, plugins.0, c))?;
        check(mossrt_chat_add_builtin_plugin(chat.0, "Calculate\0".as_ptr()))?;
        let (c, s, o, mut kind, mut text) = (chat.0, session.0, sampling.0, 0, null());
        for question in ["Hello!", "1234乘以5678=?", "What is 12 / 34?"] {
            check(mossrt_chat_send(c, question.as_ptr(), question.len()))?;
            print!("> {question}");
            loop {
                let shown = kind;
                check(mossrt_chat_advance(c, s, o, NONE, &mut kind, &mut text, NONE, NONE, NONE))?;
                match kind {
                    0 => break println!(),
                    _ if kind != shown => print!("\n[{}] ", EVENTS[kind as usize]),
                    _ => {}
                }
                print!("{}", CStr::from_ptr(text.cast()).to_string_lossy());
                std::io::stdout().flush().ok();
            }
        }
    }
    Ok(())
}
