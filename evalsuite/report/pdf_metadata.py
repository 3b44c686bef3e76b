"""What a report's PDF says it is: PDF/UA-1 beside PDF/A-3a, and without the former once it is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

UA_NAMESPACE = "http://www.aiim.org/pdfua/ns/id/"
_EXTENSION_NAMESPACE = "http://www.aiim.org/pdfa/ns/extension/"
# PDF/A admits only properties it knows or that are described: ISO 19005-3, 6.6.2.3.
_CLAIM = f"""
<rdf:Description xmlns:pdfuaid="{UA_NAMESPACE}" rdf:about="" pdfuaid:part="1"/>
<rdf:Description xmlns:pdfaExtension="{_EXTENSION_NAMESPACE}" xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#"
 xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#" rdf:about=""><pdfaExtension:schemas><rdf:Bag>
<rdf:li rdf:parseType="Resource"><pdfaSchema:schema>PDF/UA identification schema</pdfaSchema:schema>
<pdfaSchema:namespaceURI>{UA_NAMESPACE}</pdfaSchema:namespaceURI><pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource"><pdfaProperty:name>part</pdfaProperty:name>
<pdfaProperty:valueType>Integer</pdfaProperty:valueType><pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>Part of ISO 14289 the file conforms to</pdfaProperty:description></rdf:li></rdf:Seq>
</pdfaSchema:property></rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>"""


def claim_accessibility(metadata: Any) -> None:
    """Let a document's XMP say that it is PDF/UA-1, inside its one RDF element."""
    plain = metadata.generate_rdf_metadata

    def both(*arguments: Any) -> bytes:
        made: bytes = plain(*arguments)
        return made.replace(b"</rdf:RDF>", _CLAIM.encode() + b"</rdf:RDF>")

    metadata.generate_rdf_metadata = both


def withdraw_accessibility(writer: IncrementalPdfFileWriter) -> None:
    """Take the claim of PDF/UA-1 out of the metadata that the next revision writes: signature fields are not tagged."""
    from pyhanko.pdf_utils.metadata.model import XmpStructure
    from pyhanko.pdf_utils.metadata.xmp_xml import MetadataStream

    if "/Metadata" not in writer.root:
        return
    stream = writer.root["/Metadata"]  # unlike get(), this follows the reference
    if not isinstance(stream, MetadataStream):
        return
    for i, part in enumerate(stream.xmp):
        kept = [(name, value) for name, value in part if name.ns not in (UA_NAMESPACE, _EXTENSION_NAMESPACE)]
        stream.xmp[i] = XmpStructure.of(*kept)
    writer.update_container(stream)
