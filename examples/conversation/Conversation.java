// Needs: libmossrt.so.0.1 where the system looks for libraries, or its folder in LD_LIBRARY_PATH
// Run: java -Dfile.encoding=UTF-8 -cp /usr/share/java/jna.jar Conversation.java ../tiny-moss/model
import com.sun.jna.Function;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.PointerByReference;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

class Conversation {
  static final int OPTIONS_GENERATE = 3, OPTIONS_CHAT = 8;
  static String[] EVENTS = {"", "thought", "command", "result", "answer", "citation", "notice"};
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  static Function function(String name) {
    return Function.getFunction("libmossrt.so.0.1", "mossrt_" + name);
  }

  /** Calls a function that returns null or an error object. */
  static void call(String name, Object... arguments) {
    Object[] error = {function(name).invokePointer(arguments)};
    if (error[0] == null) return;
    String message = function("error_message").invokePointer(error).getString(0, "UTF-8");
    function("error_free").invokeVoid(error);
    throw new IllegalStateException(message);
  }

  /** A handle, and the function that frees it. */
  record Handle(Pointer pointer, String free) implements AutoCloseable {
    static Handle create(String kind, String name, Object... arguments) {
      PointerByReference out = new PointerByReference();
      Object[] all = java.util.Arrays.copyOf(arguments, arguments.length + 1);
      all[arguments.length] = out;
      call(name, all);
      return new Handle(out.getValue(), kind + "_free");
    }

    public void close() {
      function(free).invokeVoid(new Object[] {pointer});
    }
  }

  static void turn(Pointer chat, Pointer session, Pointer sampling, String question) {
    IntByReference event = new IntByReference();
    PointerByReference text = new PointerByReference();
    call("chat_send", chat, question, (long) question.getBytes(StandardCharsets.UTF_8).length);
    OUT.print("> " + question);
    for (int shown = 0; ; shown = event.getValue()) {
      call("chat_advance", chat, session, sampling, null, event, text, null, null, null);
      if (event.getValue() == 0) break;
      if (event.getValue() != shown) OUT.print("\n[" + EVENTS[event.getValue()] + "] ");
      OUT.print(text.getValue().getString(0, "UTF-8"));
      OUT.flush();
    }
    OUT.println();
  }

  public static void main(String[] arguments) {
    System.setProperty("jna.encoding", "UTF-8");
    String path = arguments.length > 0 ? arguments[0] : "";
    try (Handle model = Handle.create("model", "model_load", path, null, null);
        Handle tokenizer = Handle.create("tokenizer", "model_tokenizer", model.pointer);
        Handle session = Handle.create("session", "session_create", model.pointer, null);
        Handle plugins = Handle.create("options", "options_create", OPTIONS_CHAT);
        Handle sampling = Handle.create("options", "options_create", OPTIONS_GENERATE)) {
      call("options_set_str", plugins.pointer, "plugins", "Calculate", 9L);
      call("options_set_int", sampling.pointer, "seed", 1L);
      try (Handle chat = Handle.create("chat", "chat_create", tokenizer.pointer, plugins.pointer)) {
        call("chat_add_builtin_plugin", chat.pointer, "Calculate");
        for (String question : new String[] {"Hello!", "1234乘以5678=?", "What is 12 / 34?"}) {
          turn(chat.pointer, session.pointer, sampling.pointer, question);
        }
      }
    } catch (IllegalStateException e) {
      System.err.println(e.getMessage());
      System.exit(1);
    }
  }
}
