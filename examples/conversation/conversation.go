// Build: go build -o conversation conversation.go
// Run:   ./conversation ../tiny-moss/model
package main

// #cgo pkg-config: mossrt
// #include <mossrt/mossrt.h>
import "C"
import (
	"fmt"
	"log"
	"os"
	"unsafe"
)

var events = []string{"", "thought", "command", "result", "answer", "citation", "notice"}

// A text in Go's memory, for one call.
func text(s string) *C.char { return (*C.char)(unsafe.Pointer(&append([]byte(s), 0)[0])) }

// Panics with the library's own words: what is deferred frees all, then main prints them.
func check(e *C.mossrt_error) {
	if e != nil {
		defer C.mossrt_error_free(e)
		panic(C.GoString(C.mossrt_error_message(e)))
	}
}

func turn(chat *C.mossrt_chat, s *C.mossrt_session, o *C.mossrt_options, question string) {
	var kind, shown C.int32_t
	var piece *C.char
	check(C.mossrt_chat_send(chat, text(question), C.size_t(len(question))))
	fmt.Print("> ", question)
	for {
		check(C.mossrt_chat_advance(chat, s, o, nil, &kind, &piece, nil, nil, nil))
		if kind == C.MOSSRT_CHAT_EVENT_NONE {
			break
		}
		if kind != shown {
			fmt.Printf("\n[%s] ", events[kind])
		}
		fmt.Print(C.GoString(piece))
		shown = kind
	}
	fmt.Println()
}

func main() {
	log.SetFlags(0)
	defer func() {
		if message := recover(); message != nil {
			log.Fatal(message)
		}
	}()
	var model *C.mossrt_model
	var tokenizer *C.mossrt_tokenizer
	var session *C.mossrt_session
	var chat *C.mossrt_chat
	var plugins, sampling *C.mossrt_options
	check(C.mossrt_model_load(text(append(os.Args, "")[1]), nil, nil, &model))
	defer C.mossrt_model_free(model)
	check(C.mossrt_model_tokenizer(model, &tokenizer))
	defer C.mossrt_tokenizer_free(tokenizer)
	check(C.mossrt_session_create(model, nil, &session))
	defer C.mossrt_session_free(session)
	check(C.mossrt_options_create(C.MOSSRT_OPTIONS_CHAT, &plugins))
	defer C.mossrt_options_free(plugins)
	check(C.mossrt_options_set_str(plugins, text("plugins"), text("Calculate"), 9))
	check(C.mossrt_chat_create(tokenizer, plugins, &chat))
	defer C.mossrt_chat_free(chat)
	check(C.mossrt_chat_add_builtin_plugin(chat, text("Calculate")))
	check(C.mossrt_options_create(C.MOSSRT_OPTIONS_GENERATE, &sampling))
	defer C.mossrt_options_free(sampling)
	check(C.mossrt_options_set_int(sampling, text("seed"), 1))
	for _, question := range []string{"Hello!", "1234乘以5678=?", "What is 12 / 34?"} {
		turn(chat, session, sampling, question)
	}
}
