package shopstream;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;

/**
 * Which crawler an event's user agent declares. The list is that of the package crawler-user-agents; {@code make generate}
 * writes crawlers.tsv from it.
 *
 * <p>To ask all of the list takes many times longer than to read an event, so each user agent is looked up once.
 */
final class Crawlers implements Serializable {

    private static final long serialVersionUID = 1;

    private static final int MAX_AGENTS = 10_000; // that are remembered, some 5 MB at most
    private static final int MAX_CHARACTERS = 250; // of a user agent that are looked at

    private static final Pattern ESCAPED = Pattern.compile("\\\\([^a-zA-Z0-9])");
    private static final Pattern SYNTAX = Pattern.compile("[\\\\\\[\\](){}.*+?^$|]");

    private static final List<Crawler> KNOWN = known();

    private final Set<String> allowed;
    private transient Map<String, String> names; // by user agent, those used last at its end; empty if it is none

    /** @param allowed names of crawlers that the shop wants. Throws IllegalArgumentException for an unknown one. */
    Crawlers(Set<String> allowed) {
        Set<String> unknown = new TreeSet<>(allowed);
        KNOWN.forEach(crawler -> unknown.remove(crawler.name));
        if (!unknown.isEmpty()) {
            throw new IllegalArgumentException("allowed_crawlers has " + String.join(", ", unknown)
                    + "; allowed: names in the first column of crawlers.tsv, such as Googlebot."
                    + " Fix the Terraform variable `allowed_crawlers`.");
        }
        this.allowed = new HashSet<>(allowed);
    }

    /** Returns the name of the crawler that a user agent declares, or null. */
    String of(String agent) {
        if (names == null) {
            names = new LinkedHashMap<String, String>(16, 0.75f, true) {
                @Override
                protected boolean removeEldestEntry(Map.Entry<String, String> eldest) {
                    return size() > MAX_AGENTS;
                }
            };
        }
        String start = agent.length() > MAX_CHARACTERS ? agent.substring(0, MAX_CHARACTERS) : agent;
        String name = names.get(start);
        if (name == null) {
            name = find(start);
            names.put(start, name);
        }
        return name.isEmpty() ? null : name;
    }

    private static String find(String agent) {
        for (Crawler crawler : KNOWN) {
            if (crawler.isIn(agent)) {
                return crawler.name;
            }
        }
        return "";
    }

    boolean isAllowed(String crawler) {
        return allowed.contains(crawler);
    }

    private static List<Crawler> known() {
        List<Crawler> known = new ArrayList<>();
        try (BufferedReader lines = new BufferedReader(
                new InputStreamReader(Crawlers.class.getResourceAsStream("crawlers.tsv"), StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] parts = line.split("\t");
                known.add(new Crawler(parts[0], parts[1]));
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return known;
    }

    private static final class Crawler {

        final String name;
        private final String literal; // or null
        private final Pattern pattern;

        Crawler(String name, String pattern) {
            this.name = name;
            boolean isLiteral = !SYNTAX.matcher(ESCAPED.matcher(pattern).replaceAll("")).find();
            literal = isLiteral ? ESCAPED.matcher(pattern).replaceAll("$1") : null;
            this.pattern = Pattern.compile(pattern);
        }

        boolean isIn(String agent) {
            return literal == null ? pattern.matcher(agent).find() : agent.contains(literal);
        }
    }
}
