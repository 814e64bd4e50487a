"""How things look that may not enter the bank as they stand."""

import re
from typing import Final

from app.bank.document.text import words

UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u2800\u3164\uffa0\U000e0100-\U000e01ef]"
    "|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]+"
)
"""Characters that show nothing, besides those that Unicode calls invisible."""
NO_PRINT: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters."""
TAGS: Final = words("""
    a abbr acronym address applet area article aside audio b base bdi bdo big blink blockquote body br button canvas
    caption center cite code col colgroup data datalist dd del details dfn dialog dir div dl dt em embed fieldset
    figcaption figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe image img
    input ins isindex kbd keygen label legend li link listing main map mark marquee math menu meta meter nav nobr
    noembed noframes noscript object ol optgroup option output p param picture plaintext portal pre progress q rb rp rt
    ruby s samp script search section select slot small source spacer span strike strong style sub summary sup svg
    table tbody td template textarea tfoot th thead time title tr track tt u ul use var video wbr xml xmp
    animate foreignobject set
    """)
"""The elements of HTML, and the active ones of SVG."""
TAG: Final = re.compile(r"<(?:!|\?|/?([A-Za-z][A-Za-z0-9-]*(?::[A-Za-z][A-Za-z0-9-]*)?)(?=([\s/>][^<>]{0,400}|\Z)))")
"""What begins an element, a comment or a declaration; its name and what follows."""
LABELLED: Final = re.compile(
    r"!?\[([^\[\]\n]{0,300})\]\(\s{0,9}<?([^()<>\s]{1,2000}(?:\([^()\s]{0,200}\)[^()<>\s]{0,200})?)>?[^()\n]{0,200}\)"
)
"""A Markdown link or image: label and target."""
BARE: Final = re.compile(
    r"<?((?:[A-Za-z]|&#?\w{1,8};){1,12}(?::|&colon;|&#x?0*3a;|&#0*58;)[^\s<>\"'`]{1,2000})>?", re.IGNORECASE
)
"""A target by itself, its scheme perhaps written with entities."""
ENTITY: Final = re.compile(r"&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(colon|tab|newline|lpar|rpar));?", re.IGNORECASE)
"""A character written as an entity."""
NAMED: Final = {"colon": ":", "tab": "", "newline": "", "lpar": "(", "rpar": ")"}
"""The named entities that schemes are disguised with."""
SCRIPT: Final = re.compile(
    r"(?:javascript|vbscript|livescript|mocha|jscript)[\x00-\x20]*:|"
    r"data:(?:[a-z]{2,20}/[a-z0-9.+-]{1,80}|;|,|base64)",
    re.IGNORECASE,
)
"""A target that runs something, or carries its own content."""
CODEABLE: Final = re.compile(r"`+")
"""What a code span may not hold."""
_NAME_OF_ONE: Final = (
    r"(?<![a-z0-9_])(?:[a-z0-9]{1,30}_){0,6}"
    r"(?:api[ _-]?key|secret(?:[ _-]?(?:access)?[ _-]?key)?|access[ _-]?(?:key|token)|auth[ _-]?token|"
    r"token|password|passwd|pwd|mot de passe)\b"
)
"""What is called a secret, by itself or as the end of a variable's name."""
_TELLING: Final = r"(?=[^\s\"']{0,200}\d)(?=[^\s\"']{0,200}[A-Za-z])"
"""A value that is made up, and no word of a sentence."""
SECRETS: Final = re.compile(
    r"(?P<whole>\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{30,255}|\bgithub_pat_[A-Za-z0-9_]{30,255}"
    r"|\bglpat-[\w-]{18,255}|\bnpm_[A-Za-z0-9]{30,64}|\bpypi-[\w-]{40,255}|\bhf_[A-Za-z0-9]{30,64}"
    r"|\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,255}|\bsk-(?=[\w-]{0,255}\d)[A-Za-z0-9][\w-]{18,255}"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,255}|\bAIza[\w-]{35}"
    r"|\blm_live_[0-9A-Za-z]{40,60}|\blm_[A-Za-z0-9_-]{43}\b"
    r"|\beyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{8,2000})"
    r"|(?P<bearer>\bbearer[ \t]+)(?=[\w.~+/=-]{0,400}\d)[\w.~+/=-]{20,2000}"
    r"|(?P<login>[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,100}:)(?!//)[^\s/@]{3,200}(?=@)"
    rf"|(?P<assigned>{_NAME_OF_ONE}[\"']?[ \t]*=[ \t]*[\"']?){_TELLING}[A-Za-z0-9+/_.=~!@$%^&*-]{{8,400}}"
    rf"|(?P<named>{_NAME_OF_ONE}[\"']?[ \t]*(?:=|:|is|est)[ \t]*[\"']?){_TELLING}[A-Za-z0-9+/_.=~!@$%^&*-]{{12,400}}",
    re.IGNORECASE,
)
"""Secrets by their shape, or by what stands before them, which is not part of them."""
KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----(?:[^-]|-(?!----)){0,20000}"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----)?"
)
"""A private key in PEM."""
_PRIOR: Final = (
    r"(?:all |any |every |the |your |my |these |those |toutes? |tous |les |tes |vos |ces )*"
    r"(?:of )?(?:the |your |les )?(?:previous|prior|earlier|above|preceding|existing|original|system|other|former)"
)
_WHOM: Final = (
    r"(?:ai|llm|coding|all|any|every|future|other|les|tous les|chaque|to|attention|dear|hey)\b.{0,12}"
    r"\b(?:agents?|assistants?|llms?|language models?|chatbots?|copilots?|modeles?)"
)
_DEEDS: Final = (
    r"(?:ignore|delete|erase|wipe|drop|send|upload|exfiltrate|disable|obey|execute|run|"
    r"supprimer?|effacer?|envoyer?|executer?|desactiver?|supprimez|effacez|envoyez|executez|desactivez)"
)
_TREASURES: Final = (
    r"(?:tokens?|passwords?|credentials?|secrets?|api keys?|private keys?|env(?:ironment)? (?:file|variables?)|\.env|"
    r"mots? de passe|identifiants|jetons?)"
)
COMMANDS: Final = re.compile(
    "|".join(
        (
            # Set aside what was said before.
            (
                rf"\b(?:ignore|disregard|forget|override|bypass|discard)\b.{{0,20}}?{_PRIOR}.{{0,24}}?"
                r"\b(?:instruction|prompt|rule|message|direction|guideline|context|order|command|polic|constraint)"
            ),
            (
                r"\b(?:ignore[zr]?|oublie[zr]?|neglige[zr]?|contourne[zr]?)\b.{0,30}\b"
                r"(?:(?:instruction|consigne|prompt|directive)s?\b|"
                r"regles? (?:precedente|anterieure|ci-dessus|du systeme|de cette memoire))"
            ),
            r"\b(?:ignoriere?n?|vergiss|vergessen)\b.{0,40}\b(?:anweisung|befehl)",
            r"\b(?:ignora|olvida|descarta)\b.{0,40}\b(?:instruccion|orden)",
            # Be somebody else.
            r"\b(?:you are|tu es|vous etes) (?:now|no longer|maintenant|desormais)\b",
            r"\b(?:from now on|dorenavant|desormais),? (?:you|tu|vous|every agent|all agents|agents?|assistants?)\b",
            (
                r"\b(?:act|behave|respond|pretend|roleplay) as "
                r"(?:if you|though you|an? (?:unrestricted|unfiltered|jailbroken|admin|root|system))"
            ),
            r"\b(?:new|updated|real|hidden|secret) (?:system )?(?:instructions?|prompt)\s*:",
            (
                r"\b(?:reveal|print|show|repeat|leak|output|divulge|affiche[zr]?|revele[zr]?)\b.{0,30}"
                r"\b(?:system prompt|your (?:system )?(?:prompt|instructions)|prompt systeme|hidden instructions)"
            ),
            # Speak as the system.
            (
                r"(?:^|[\s\[(<|#*])(?:system|developer|assistant)\s?[\]>|]?\s?:\s?"
                r"(?:you|ignore|always|never|do not|don't|execute|run|send|tu|vous)\b"
            ),
            r"<\|?(?:im_start|im_end|system|endoftext|start_header_id)\|?>|\[/?inst\]|<</?sys>>",
            # Tell agents what to do.
            (
                rf"\b{_WHOM}(?: reading (?:this|it)| who reads? (?:this|it)| qui li(?:t|sez|sent) (?:ceci|cela))?[,:]? "
                r"(?:must|should|shall|need to|have to|has to|are (?:required|instructed|ordered) to|will now|please|"
                r"doi(?:t|vent)|devez|ignore|delete|send|run|execute|post|upload|forward|disable|obey|follow)\b"
            ),
            (
                r"\b(?:you|agents?|assistants?|vous|tu) (?:must|have to|need to|should|devez|dois|doivent)\b.{0,30}"
                rf"\b{_DEEDS}\b"
            ),
            (
                r"\b(?:do not|don't|never|ne (?:le |la |les )?)\s?"
                r"(?:tell|inform|mention(?:ne[zr]?)?|reveal|warn|notify|dites?|dis|previen[st]|prevenez)\b.{0,24}\b(?:user|human|operator|owner|utilisateur|humain)"
            ),
            # Take things out, or break them.
            (
                r"\b(?:send|post|upload|forward|exfiltrate|email|transmit|envoie[zr]?|envoyez|transmets|transmettez)"
                rf"\b.{{0,60}}\b{_TREASURES}\b.{{0,40}}\b(?:to|at|a|vers|sur)\b"
            ),
            r"\b(?:curl|wget|iwr|invoke-webrequest)\b[^|]{0,200}\|\s?(?:sudo )?(?:ba|z|da|k)?sh\b",
            r"\brm -rf [/~]",
        )
    )
)
"""A folded text that tells agents what to do, in English or French; some German and Spanish."""
