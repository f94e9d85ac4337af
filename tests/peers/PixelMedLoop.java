import com.pixelmed.dicom.AttributeList;
import com.pixelmed.validate.DicomInstanceValidator;
import com.pixelmed.validate.DicomSRValidator;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** PixelMed's validators over many files in one JVM, as loading their rules takes most of the time.
 * Argument: "sr" or "instance". Reads a path a line; after what the validator says of it stands a line "== done". */
public class PixelMedLoop {
    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        boolean sr = arguments[0].equals("sr");
        DicomSRValidator reports = sr ? new DicomSRValidator() : null;
        DicomInstanceValidator instances = sr ? null : new DicomInstanceValidator();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String path = in.readLine(); path != null; path = in.readLine()) {
            try {
                AttributeList list = new AttributeList();
                list.read(path);
                out.print(sr ? reports.validate(list, false, true, false, false, false) : instances.validate(list));
            } catch (Exception | StackOverflowError error) {
                out.println("Error: PixelMed cannot read it: " + error);
            }
            out.println("\n== done");
        }
    }
}
