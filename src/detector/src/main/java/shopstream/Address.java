package shopstream;

import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.UnknownHostException;

/** The client's address as rules know it. */
final class Address {

    private static final int MAX_CHARACTERS = 45; // of IPv6 with an address of IPv4 at its end

    /**
     * Returns an address of IPv4, or the /64 network of one of IPv6, which is what a provider gives to one customer; null
     * if the text is neither.
     */
    static String of(String text) {
        if (text.indexOf(':') < 0) {
            return isIpv4(text) ? text : null;
        }
        if (text.length() > MAX_CHARACTERS || !isOfIpv6(text)) {
            return null;
        }
        try {
            InetAddress address = InetAddress.getByName(text);
            if (address instanceof Inet4Address) {
                return address.getHostAddress(); // ::ffff:192.0.2.17
            }
            byte[] bytes = address.getAddress();
            StringBuilder network = new StringBuilder();
            for (int i = 0; i < 8; i += 2) {
                network.append(Integer.toHexString((bytes[i] & 0xff) << 8 | bytes[i + 1] & 0xff)).append(':');
            }
            return network.append(":/64").toString();
        } catch (UnknownHostException malformed) {
            return null;
        }
    }

    /** Returns whether the text has an address's characters alone. Of a text with others, Java would ask a name server. */
    private static boolean isOfIpv6(String text) {
        for (int i = 0; i < text.length(); i++) {
            char letter = text.charAt(i);
            if (letter > 'f' || Character.digit(letter, 16) < 0 && letter != ':' && letter != '.') {
                return false;
            }
        }
        return true;
    }

    /** Returns whether the text is four numbers of 0 to 255, without leading zeros: these mean octal to some. */
    private static boolean isIpv4(String text) {
        int numbers = 0;
        int digits = 0;
        int value = 0;
        for (int i = 0; i <= text.length(); i++) {
            char letter = i == text.length() ? '.' : text.charAt(i);
            if (letter == '.') {
                if (digits == 0) {
                    return false;
                }
                numbers++;
                digits = 0;
                value = 0;
            } else if (letter < '0' || letter > '9' || digits > 0 && value == 0) {
                return false;
            } else {
                digits++;
                value = 10 * value + letter - '0';
                if (value > 255) {
                    return false;
                }
            }
        }
        return numbers == 4;
    }

    private Address() {}
}
