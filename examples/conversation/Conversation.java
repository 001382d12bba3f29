// Needs: libmossrt.so.0.1 where the system looks for libraries, or its folder in LD_LIBRARY_PATH
// Run: java -Dfile.encoding=UTF-8 -cp /usr/share/java/jna.jar Conversation.java ../tiny-moss/model
import com.sun.jna.Function;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

class Conversation {
  static final int RUN_COMMANDS = 2, OPTIONS_GENERATE = 3, OPTIONS_CHAT = 8;
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

  /** An out parameter for what a function of the library has to free. */
  record Owned(String free, PointerByReference out) implements AutoCloseable {
    Owned(String free) {
      this(free, new PointerByReference());
    }

    Pointer get() {
      return out.getValue();
    }

    public void close() {
      function(free).invokeVoid(new Object[] {get()});
      out.setValue(null);
    }
  }

  static void calculate(Pointer chat, long index) {
    PointerByReference name = new PointerByReference(), argument = new PointerByReference();
    LongByReference length = new LongByReference(), size = new LongByReference();
    call("chat_command", chat, index, name, argument, length);
    try (Owned value = new Owned("free"); Owned error = new Owned("error_free")) {
      Object[] arguments = {argument.getValue(), length.getValue(), value.out(), size};
      error.out().setValue(function("calculate").invokePointer(arguments));
      // No value tells the model that the calculation failed.
      call("chat_set_result", chat, index, value.get(), size.getValue());
    }
  }

  static void turn(Pointer chat, Pointer session, Pointer sampling, String question) {
    IntByReference action = new IntByReference(), token = new IntByReference();
    IntByReference finish = new IntByReference(), more = new IntByReference();
    IntByReference event = new IntByReference();
    PointerByReference text = new PointerByReference();
    LongByReference n = new LongByReference();
    call("chat_send", chat, question, (long) question.getBytes(StandardCharsets.UTF_8).length);
    OUT.print("> " + question);
    try (Owned writer = new Owned("generation_free")) {
      for (int shown = 0; ; ) {
        call("chat_next", chat, null, 0L, action, null, null, null);
        if (action.getValue() == 0) break;
        if (action.getValue() == RUN_COMMANDS) {
          call("chat_commands", chat, n);
          for (long i = 0; i < n.getValue(); ++i) calculate(chat, i);
          call("chat_end_commands", chat);
        } else if (writer.get() == null) {
          call("chat_eval", chat, session, null);
          call("generation_start", session, sampling, null, writer.out());
        } else {
          call("generation_next", writer.get(), token, null, null, finish);
          if (token.getValue() < 0) call("chat_end", chat, finish.getValue());
          else call("chat_push", chat, token.getValue(), more);
          if (token.getValue() < 0 || more.getValue() == 0) writer.close();
        }
        while (true) {
          call("chat_event", chat, event, text, null, null, null);
          if (event.getValue() == 0) break;
          if (event.getValue() != shown) OUT.print("\n[" + EVENTS[event.getValue()] + "] ");
          OUT.print(text.getValue().getString(0, "UTF-8"));
          OUT.flush();
          shown = event.getValue();
        }
      }
    }
    OUT.println();
  }

  public static void main(String[] arguments) {
    System.setProperty("jna.encoding", "UTF-8");
    try (Owned model = new Owned("model_free"); Owned tokenizer = new Owned("tokenizer_free");
        Owned session = new Owned("session_free"); Owned chat = new Owned("chat_free");
        Owned plugins = new Owned("options_free"); Owned sampling = new Owned("options_free")) {
      call("model_load", arguments.length > 0 ? arguments[0] : "", null, null, model.out());
      call("model_tokenizer", model.get(), tokenizer.out());
      call("session_create", model.get(), null, session.out());
      call("options_create", OPTIONS_CHAT, plugins.out());
      call("options_set_str", plugins.get(), "plugins", "Calculate", 9L);
      call("chat_create", tokenizer.get(), plugins.get(), chat.out());
      call("options_create", OPTIONS_GENERATE, sampling.out());
      call("options_set_int", sampling.get(), "seed", 1L);
      call("chat_set_options", chat.get(), sampling.get());
      for (String question : new String[] {"Hello!", "1234乘以5678=?", "What is 12 / 34?"}) {
        turn(chat.get(), session.get(), sampling.get(), question);
      }
    } catch (IllegalStateException e) {
      System.err.println(e.getMessage());
      System.exit(1);
    }
  }
}
