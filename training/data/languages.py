"""Languages beside English: their words, common and invented ones, and who speaks them.

Sounds, not meanings, matter: the words hold what English lacks, nasal and rounded front vowels,
rolled and palatal consonants. Every seventh word by hash is held out, as in English.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_INVENTED = 500
_COMMON_SHARE = 0.6


@dataclass(frozen=True)
class Language:
    """A language of espeak-ng: parts that its invented words are made of, and common words."""

    code: str
    title: str
    onsets: tuple[str, ...]
    nuclei: tuple[str, ...]
    codas: tuple[str, ...]
    endings: tuple[str, ...]
    common: tuple[str, ...]


def _language(
    code: str, title: str, onsets: str, nuclei: str, codas: str, endings: str, common: str
) -> Language:
    parts = (tuple(part.split()) for part in (onsets, nuclei, codas, endings, common))
    return Language(code, title, *parts)


GERMAN = _language(
    "de", "German",
    "b bl br d dr f fl fr g gl gr h j k kl kn kr l m n p pf pl r s sch schl schm schr schw sp st t"
    " tr w z zw",
    "a e i o u ä ö ü ei au eu ie ah eh oh üh",
    "b ch ck f g l ld lt m mm n nd ng nk p r rt s sch ss st t tz", "e en er el chen ung ig lich",
    """abend apfel arbeit auge baum berg bett bild blatt blume boden brief brot bruder brücke buch
    büro dach danke deutsch dorf draußen dünn ecke ei eis elf ende essen fahrrad familie farbe
    fenster feuer fisch flasche fleisch fliegen fluss frau freund früh fünf fuß garten gelb gemüse
    geschichte gesicht glück grün gut haar hand haus heute himmel hören hund jahr jung kaffee kalt
    katze kind kirche klein knie koch könig kopf kuh küche lachen lampe langsam leben licht löffel
    luft mädchen mann maus meer milch mond morgen müde mund musik mutter nacht nase neu nichts obst
    ohr pferd pflaume platz regen reise rot sagen schaf schiff schlafen schnee schnell schön schuh
    schule schwarz schwester see sommer sonne spät spiegel spiel sprache stadt stein stern straße
    stuhl tasche tür über uhr vater vier vogel wald warm wasser weg weiß welt wetter wind woche wort
    zahn zeit zimmer zucker zug zwei zwölf""",
)  # fmt: skip
SPANISH = _language(
    "es", "Spanish",
    "b bl br c ch cl cr d dr f fl fr g gl gr h j l ll m n ñ p pl pr qu r s t tr v z",
    "a e i o u ai ei ie ue ua io á é í ó ú", "d l m n r s z", "a o e ón ar er ir ita illo ado",
    """abuela agua amarillo amigo año árbol arroz ayer azúcar azul baile barco blanco boca bosque
    brazo bueno caballo cabeza café caja calle cama camino campo canción cara carne carta casa cena
    cerca chico cielo cinco ciudad claro coche cocina color comer corazón correr cuatro cuchara
    cuello cuerpo día diez dinero doce dormir dulce escuela espejo estrella feliz fiesta flor fruta
    fuego fuerte gato gente grande guerra guitarra hablar hermano hijo hoja hombre hora hoy huevo
    invierno isla jabón jardín joven juego jueves lago lámpara lápiz leche lejos leer libro llave
    llover lluvia luna luz madre mañana mano mar mesa mujer mundo música naranja negro nieve niña
    niño noche nube nueve nuevo ojo oro otoño padre país pájaro palabra pan papel pared pequeño
    perro pez pie piedra piel playa pregunta primo puente puerta queso quince reloj río rojo ropa
    rosa sal semana siempre siete silla sol sombrero sopa sueño tarde taza tiempo tienda tierra
    trabajo tren uva vaca vaso ventana verano verde viaje viento zapato""",
)  # fmt: skip
FRENCH = _language(
    "fr", "French",
    "b bl br c ch cl cr d dr f fl fr g gl gr j l m n p pl pr r s t tr v",
    "a e i o u é è ê ou oi eu ai au on an in un oin ien", "c l m n que r s t che ge lle gne sse",
    "e er é ette eau ion eux ment age",
    """ami animal arbre argent automne avion bain bateau beau beurre bien blanc bleu boire bois
    bonjour bouche bouteille bras brun campagne chaise chambre champ chanson chapeau chat chaud
    chemin cheval cheveux chien ciel cinq clef cœur coin couleur cour couteau cuisine dans danse
    demain dent deux dimanche dix doigt dormir doux eau école église enfant ensemble escalier
    été étoile famille femme fenêtre feu feuille fille fin fleur fleuve forêt frère froid fromage
    fruit garçon gâteau genou gens grand gris heure hier histoire hiver homme huit île jambe
    jardin jaune jeu jeudi jeune jour lait lampe lapin langue lettre libre lire lit livre loin long
    lundi lune main maison manger manteau marché matin mère midi miel moins mois monde montagne
    mouton mur musique neige neuf nez noir nom nouveau nuage nuit œil œuf oiseau oncle ongle orange
    oreille pain papier parfum parler peau père petit peur pied pierre place plage pleuvoir plume
    pluie poisson pomme pont porte poule printemps quatre question quinze raisin reine rêve rivière
    robe roi rouge rue sable sœur soir soleil soupe souris sucre table temps terre tête train
    travail trois vache vent vert viande vie vieux village ville vin vingt visage voix voyage""",
)  # fmt: skip
ITALIAN = _language(
    "it", "Italian",
    "b bl br c ch cl cr d dr f fl fr g gl gn gr l m n p pl pr qu r s sc sp st t tr v z",
    "a e i o u ia io uo ai ei", "ll mm nn l m n r s tt cc", "a o e i ino etta one are ere ire",
    """acqua albero allegro amico amore anno aprile arancia autunno bambino barca bello bianco
    bicchiere bocca borsa bosco braccio buono caffè caldo camera cane cantare capello casa cavallo
    cena cento chiave chiesa cielo cinque città collina colore coltello compagno cucina cuore denti
    dieci difficile dito dolce domani domenica donna dormire estate fame famiglia farfalla felice
    festa figlia finestra fiore fiume foglia formaggio forte fratello freddo fuoco gamba gatto
    gelato gente ghiaccio giallo giardino giocare giorno giovane giugno gnocchi gonna grande grigio
    inverno isola labbra lago latte leggere letto libro lingua lontano luce luglio luna lunedì
    macchina madre maggio mangiare mano mare martedì mattina mela mercato mese mille mondo montagna
    musica naso nave nebbia neve nonno notte nove nuvola occhio oggi ombra orecchio orologio otto
    padre paese pane parlare parola pecora pesce piazza piccolo piede pioggia pizza pomeriggio
    ponte porta primavera prosciutto quaderno quattro ragazzo regina ridere riso rosso sabato sabbia
    sale scarpa scuola sedia sei sera sette settimana sogno sole sorella specchio spiaggia stella
    strada tavola tempo terra testa treno uccello uomo uovo uva vecchio venti vento verde viaggio
    vino vita zia zucchero zuppa""",
)  # fmt: skip
PORTUGUESE = _language(
    "pt", "Portuguese",
    "b br c ch cl cr d dr f fl fr g gr j l lh m n nh p pl pr qu r s t tr v x z",
    "a e i o u ã á é ó ei ou ai ão õe am em", "l m n r s z", "a o e inho eira ar er ir ção ado",
    """água amanhã amarelo amigo amor ano árvore avião avó azul bailar banco barco beber bem boca
    bola bolo bom branco braço cabeça cabelo cadeira café cama caminho cantar cão carne carro carta
    casa castanho cavalo cedo céu chapéu chave chuva cidade cinco coelho comer conversa cor coração
    corpo cozinha criança dedo dente dez dia dinheiro doce domingo dormir escola espelho estrada
    estrela faca família feijão feliz festa filha flor floresta fogo folha forte frio fruta galinha
    garfo gato gelo gente grande hoje homem hora igreja ilha inverno irmã janela jardim joelho
    jogo jovem laranja lápis leite leão ler limão língua livro longe lua luz maçã mãe manhã mão
    mar melhor menina mesa montanha mulher mundo música nariz navio neve noite nome nove novo nuvem
    olho onda ontem orelha ouro outono ovo pai palavra pão papel parede pássaro pé pedra peixe
    pequeno perna pessoa pintor ponte porta praia preto primavera quarto queijo quente rainha rei
    relógio rio rosa roupa rua sábado sal sapato segunda seis semana sete sol sonho sopa tarde
    tempo terra tio trabalho três uva vaca vento verão verde vermelho viagem vida vinho voz""",
)  # fmt: skip
POLISH = _language(
    "pl", "Polish",
    "b br ch cz d dr f g gł gr h j k kl kr l ł m n ń p pr prz r rz s sz st t tr w z ż ź dz ś",
    "a e i o u y ą ę ó ia ie io", "b ch cz d k l m n p r s sz t w ż ść", "a o y e ek ka ość any ić",
    """babcia biały brat brzeg brzuch burza chata chleb chłopiec chmura ciało ciasto cień ciepło
    córka cukier czarny czas czekać czerwony człowiek cztery dach daleko deszcz dłoń dobry dom droga
    drzewo duży dwa dzień dziecko dziękuję dziewczyna dziś gazeta gęś głowa głos gość góra grzyb
    gwiazda herbata imię jabłko jajko jesień jezioro jeż język jutro kapusta kawa klucz kobieta
    koń kość kościół kot krowa król krzesło księżyc książka kuchnia kwiat las lato lekcja liść list
    lód łąka łóżko łyżka mąka mąż miasto miesiąc miłość mleko morze most motyl mówić mysz niebieski
    niebo noc noga nos nowy obraz ogień ogród okno oko ojciec ołówek osiem owca owoc pan pies pięć
    piękny pieniądze piosenka pisać plaża pociąg pogoda poranek powietrze praca prosty przyjaciel
    ptak pytanie rano ręka róża ryba rynek rzeka samochód sen ser serce siedem siostra słońce słowo
    sól spać stary stół strona sześć szkoła szyja śnieg światło święto talerz ulica usta warzywo
    wiatr wieczór wieś wiosna woda wóz wujek wysoki zamek ząb zdrowie zegar zielony ziemia zima
    złoty zupa zwierzę źródło żaba żona żółty życie""",
)  # fmt: skip

LANGUAGES: dict[str, Language] = {
    each.code: each for each in (GERMAN, SPANISH, FRENCH, ITALIAN, PORTUGUESE, POLISH)
}
"""By the name that espeak-ng has for them."""


@lru_cache(maxsize=16)
def words(code: str, split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Common and invented words of a language that are of `train` or of `test`.

    Raises ValueError for another split, and for a language that is not here.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if code not in LANGUAGES:
        raise ValueError(f"unknown language {code!r}; here are {', '.join(LANGUAGES)}")
    language = LANGUAGES[code]
    rng = np.random.default_rng([1913, zlib.crc32(code.encode())])
    parts = (language.onsets, language.nuclei, language.codas, language.endings)
    made = {"".join(p[int(rng.integers(len(p)))] for p in parts) for _ in range(_INVENTED)}
    common = set(language.common)

    def kept(some: set[str]) -> tuple[str, ...]:
        held_out = split == "test"
        return tuple(w for w in sorted(some) if (zlib.crc32(w.encode()) % 7 == 0) == held_out)

    return kept(common), kept(made - common)


def sentence(rng: np.random.Generator, code: str, split: str) -> str:
    """Three to nine random words of a language, mostly common ones."""
    common, invented = words(code, split)
    chosen = (
        common if rng.random() < _COMMON_SHARE else invented for _ in range(rng.integers(3, 10))
    )
    return " ".join(pool[int(rng.integers(len(pool)))] for pool in chosen)
