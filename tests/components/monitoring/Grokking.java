import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.TreeMap;
import org.elasticsearch.grok.Grok;
import org.elasticsearch.grok.GrokBuiltinPatterns;

/**
 * Takes texts apart with Elasticsearch's own library, as its grok processor uses it.
 *
 * <p>Reads lines of words, the last in base 64: `definition NAME PATTERN`; `pattern PATTERN`, one of
 * those for the texts that follow; `text TEXT`. A pattern after a text begins others. Writes a line
 * for each field of a text, name and value in base 64, and one that is empty after each text; of a
 * text that no pattern matches a line with a dash.
 */
public final class Grokking {
    public static void main(String[] arguments) {
        Map<String, String> definitions = new HashMap<>();
        List<String> patterns = new ArrayList<>();
        Grok grok = null;
        StringBuilder told = new StringBuilder();
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            String[] words = lines.nextLine().split(" ", -1);
            String last = decoded(words[words.length - 1]);
            switch (words[0]) {
                case "definition" -> definitions.put(words[1], last);
                case "pattern" -> {
                    if (grok != null) {
                        patterns.clear();
                        grok = null;
                    }
                    patterns.add(last);
                }
                case "text" -> {
                    grok = grok == null ? made(definitions, patterns) : grok;
                    tell(grok.captures(last), told);
                }
                default -> throw new IllegalArgumentException(words[0]);
            }
        }
        System.out.print(told);
    }

    /** Several patterns become one of alternatives there. */
    private static Grok made(Map<String, String> definitions, List<String> patterns) {
        String joined = "(?:" + String.join(")|(?:", patterns) + ")";
        return new Grok(
                GrokBuiltinPatterns.get(true).extendWith(definitions),
                patterns.size() == 1 ? patterns.get(0) : joined,
                warning -> {
                    throw new IllegalStateException(warning);
                });
    }

    private static void tell(Map<String, Object> found, StringBuilder told) {
        if (found == null) {
            told.append("-\n\n");
            return;
        }
        for (Map.Entry<String, Object> field : new TreeMap<>(found).entrySet()) {
            told.append(encoded(field.getKey())).append(' ');
            told.append(encoded(field.getValue().toString())).append('\n');
        }
        told.append('\n');
    }

    private static String decoded(String word) {
        return new String(Base64.getDecoder().decode(word), StandardCharsets.UTF_8);
    }

    private static String encoded(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }
}
