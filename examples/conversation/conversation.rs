// Build: rustc --edition 2021 conversation.rs $(pkg-config --libs-only-L mossrt)
// Run:   ./conversation ../tiny-moss/model
use std::ffi::{c_void, CStr, CString};
use std::io::{stdout, Write};
use std::os::raw::c_char;
use std::ptr::{null, null_mut};

type P = *mut c_void; // any handle
type S = *const c_char;

// What mossrt.h declares.
macro_rules! functions {
    ($($name:ident($($parameter:ty),*) -> $result:ty;)*) => {
        #[link(name = "mossrt")]
        extern "C" { $(fn $name($(_: $parameter),*) -> $result;)* }
    };
}
functions! {
    mossrt_error_message(P) -> S; mossrt_error_free(P) -> (); mossrt_free(S) -> ();
    mossrt_model_load(S, P, P, &mut P) -> P; mossrt_model_free(P) -> ();
    mossrt_model_tokenizer(P, &mut P) -> P; mossrt_tokenizer_free(P) -> ();
    mossrt_session_create(P, P, &mut P) -> P; mossrt_session_free(P) -> ();
    mossrt_options_create(i32, &mut P) -> P; mossrt_options_set_str(P, S, S, usize) -> P;
    mossrt_options_set_int(P, S, i64) -> P; mossrt_options_free(P) -> ();
    mossrt_generation_start(P, P, P, &mut P) -> P; mossrt_generation_free(P) -> ();
    mossrt_generation_next(P, &mut i32, P, P, &mut i32) -> P;
    mossrt_chat_create(P, P, &mut P) -> P; mossrt_chat_free(P) -> ();
    mossrt_chat_set_options(P, P) -> P; mossrt_chat_send(P, S, usize) -> P;
    mossrt_chat_next(P, P, usize, &mut i32, P, P, P) -> P; mossrt_chat_eval(P, P, P) -> P;
    mossrt_chat_push(P, i32, &mut i32) -> P; mossrt_chat_end(P, i32) -> P;
    mossrt_chat_event(P, &mut i32, &mut S, P, P, P) -> P; mossrt_chat_commands(P, &mut usize) -> P;
    mossrt_chat_command(P, usize, &mut S, &mut S, &mut usize) -> P;
    mossrt_chat_set_result(P, usize, S, usize) -> P; mossrt_chat_end_commands(P) -> P;
    mossrt_calculate(S, usize, &mut S, &mut usize) -> P;
}
const EVENTS: [&str; 7] = ["", "thought", "command", "result", "answer", "citation", "notice"];
const DONE: i32 = 0;
const RUN_COMMANDS: i32 = 2;
const OPTIONS_GENERATE: i32 = 3;
const OPTIONS_CHAT: i32 = 8;
const NONE: P = null_mut();

fn check(error: P) -> Result<(), String> {
    if error == NONE {
        return Ok(());
    }
    let message = unsafe { CStr::from_ptr(mossrt_error_message(error)) }.to_string_lossy().into();
    unsafe { mossrt_error_free(error) };
    Err(message)
}

/// What a call of the library made, and what frees it.
struct Handle(P, unsafe extern "C" fn(P));

impl Drop for Handle {
    fn drop(&mut self) {
        unsafe { self.1(self.0) }
    }
}

fn own(free: unsafe extern "C" fn(P), make: impl Fn(&mut P) -> P) -> Result<Handle, String> {
    let mut handle = Handle(NONE, free); // every free function takes NULL
    check(make(&mut handle.0))?;
    Ok(handle)
}

unsafe fn calculate(chat: P, index: usize) -> Result<(), String> {
    let (mut name, mut text, mut value, mut n, mut size) = (null(), null(), null(), 0, 0);
    check(mossrt_chat_command(chat, index, &mut name, &mut text, &mut n))?;
    // A value that stays NULL tells the model that the calculation failed.
    mossrt_error_free(mossrt_calculate(text, n, &mut value, &mut size));
    let result = check(mossrt_chat_set_result(chat, index, value, size));
    mossrt_free(value);
    result
}

unsafe fn turn(chat: P, s: P, o: P, question: &str) -> Result<(), String> {
    let (mut action, mut token, mut finish, mut more, mut kind, mut shown) = (0, 0, 0, 0, 0, 0);
    let (mut n, mut text, mut writer) = (0, null(), Handle(NONE, mossrt_generation_free));
    check(mossrt_chat_send(chat, question.as_ptr() as S, question.len()))?;
    print!("> {question}");
    loop {
        check(mossrt_chat_next(chat, NONE, 0, &mut action, NONE, NONE, NONE))?;
        match action {
            DONE => break println!(),
            RUN_COMMANDS => {
                check(mossrt_chat_commands(chat, &mut n))?;
                (0..n).try_for_each(|index| calculate(chat, index))?;
                check(mossrt_chat_end_commands(chat))?;
            }
            _ if more == 0 => {
                check(mossrt_chat_eval(chat, s, NONE))?;
                writer = own(mossrt_generation_free, |g| mossrt_generation_start(s, o, NONE, g))?;
                more = 1;
            }
            _ => {
                check(mossrt_generation_next(writer.0, &mut token, NONE, NONE, &mut finish))?;
                if token >= 0 {
                    check(mossrt_chat_push(chat, token, &mut more))?;
                } else {
                    more = 0;
                    check(mossrt_chat_end(chat, finish))?;
                }
            }
        }
        loop {
            check(mossrt_chat_event(chat, &mut kind, &mut text, NONE, NONE, NONE))?;
            if kind == 0 {
                break;
            }
            if kind != shown {
                print!("\n[{}] ", EVENTS[kind as usize]);
            }
            print!("{}", CStr::from_ptr(text).to_string_lossy());
            shown = kind;
            stdout().flush().ok();
        }
    }
    Ok(())
}

fn main() -> Result<(), String> {
    let c = |text: &'static str| text.as_ptr() as S;
    let path = CString::new(std::env::args().nth(1).unwrap_or_default()).unwrap();
    unsafe {
        let model = own(mossrt_model_free, |m| mossrt_model_load(path.as_ptr(), NONE, NONE, m))?;
        let tokenizer = own(mossrt_tokenizer_free, |t| mossrt_model_tokenizer(model.0, t))?;
        let session = own(mossrt_session_free, |s| mossrt_session_create(model.0, NONE, s))?;
        let plugins = own(mossrt_options_free, |o| mossrt_options_create(OPTIONS_CHAT, o))?;
        check(mossrt_options_set_str(plugins.0, c("plugins\0"), c("Calculate"), 9))?;
        let chat = own(mossrt_chat_free, |chat| mossrt_chat_create(tokenizer.0, plugins.0, chat))?;
        let sampling = own(mossrt_options_free, |o| mossrt_options_create(OPTIONS_GENERATE, o))?;
        check(mossrt_options_set_int(sampling.0, c("seed\0"), 1))?;
        check(mossrt_chat_set_options(chat.0, sampling.0))?;
        for question in ["Hello!", "1234乘以5678=?", "What is 12 / 34?"] {
            turn(chat.0, session.0, sampling.0, question)?;
        }
    }
    Ok(())
}
