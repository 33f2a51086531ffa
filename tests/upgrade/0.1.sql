SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE public.aliases (
    model_id bigint NOT NULL,
    alias text NOT NULL,
    version integer NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.batches (
    id uuid NOT NULL,
    model_id bigint NOT NULL,
    received bigint NOT NULL,
    accepted bigint NOT NULL,
    duplicates bigint NOT NULL,
    rejected bigint NOT NULL,
    rejections jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.blocks (
    id bigint NOT NULL,
    model_id bigint NOT NULL,
    batch_id uuid NOT NULL,
    payload bytea NOT NULL
);
ALTER TABLE ONLY public.blocks ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE public.blocks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.blocks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.bodies (
    model_id bigint NOT NULL,
    checkpoint text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL
);
CREATE TABLE public.decisions (
    update_id uuid NOT NULL,
    "position" integer NOT NULL,
    sample_id text NOT NULL,
    decision text NOT NULL,
    cluster integer,
    distance real,
    outlier boolean DEFAULT false NOT NULL
);
CREATE TABLE public.idempotency_keys (
    model_id bigint NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    location text,
    body jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.labels (
    model_id bigint NOT NULL,
    label integer NOT NULL,
    name text NOT NULL
);
CREATE TABLE public.models (
    id bigint NOT NULL,
    name text NOT NULL,
    settings jsonb NOT NULL,
    next_version integer DEFAULT 1 NOT NULL,
    deletions bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);
ALTER TABLE public.models ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.models_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.samples (
    model_id bigint NOT NULL,
    block_id bigint NOT NULL,
    "position" smallint NOT NULL,
    label integer NOT NULL,
    weight real NOT NULL,
    held_out boolean NOT NULL,
    fresh boolean DEFAULT true NOT NULL,
    version integer,
    withheld boolean DEFAULT false NOT NULL,
    hash bytea NOT NULL,
    client_id text
);
CREATE TABLE public.updates (
    id uuid NOT NULL,
    model_id bigint NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    trigger text NOT NULL,
    forced boolean DEFAULT false NOT NULL,
    phase text,
    progress real DEFAULT 0 NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    run_after timestamp with time zone DEFAULT now() NOT NULL,
    leased_until timestamp with time zone,
    cancel_requested boolean DEFAULT false NOT NULL,
    outcome text,
    version integer,
    error jsonb,
    report jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    horizon bigint,
    CONSTRAINT updates_check CHECK (((status = 'running'::text) = (leased_until IS NOT NULL))),
    CONSTRAINT updates_check1 CHECK (((status = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text])) = (finished_at IS NOT NULL))),
    CONSTRAINT updates_outcome_check CHECK ((outcome = ANY (ARRAY['published'::text, 'rejected'::text, 'nothing_to_learn'::text]))),
    CONSTRAINT updates_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT updates_trigger_check CHECK ((trigger = ANY (ARRAY['schedule'::text, 'batch'::text, 'manual'::text])))
);
CREATE TABLE public.versions (
    model_id bigint NOT NULL,
    version integer NOT NULL,
    parent integer,
    status text NOT NULL,
    update_id uuid,
    checkpoint text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    labels text[] NOT NULL,
    evaluation jsonb NOT NULL,
    gate jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    origin text DEFAULT 'update'::text NOT NULL,
    CONSTRAINT versions_check CHECK (((update_id IS NOT NULL) = (origin = 'update'::text))),
    CONSTRAINT versions_origin_check CHECK ((origin = ANY (ARRAY['update'::text, 'imported'::text, 'copied'::text]))),
    CONSTRAINT versions_status_check CHECK ((status = ANY (ARRAY['published'::text, 'rejected'::text])))
);
INSERT INTO public._sqlx_migrations VALUES (1, 'first schema', '2026-11-26 22:57:52.451032+00', true, '\xd091b9e44f9e2df3d899ea97ae38c924dfa89c375407651e23a17b021e2994645dbf3fcf1f96a9430bb6107d702e23e6', 118310579);
INSERT INTO public._sqlx_migrations VALUES (2, 'horizon', '2026-11-26 22:57:52.573255+00', true, '\xd8d5a2f101ed8e96b94f3cf9b5b7f914f9e298ef09149e0098b6579515e12d85dd07530704db929b0249e602f7c1a27a', 4010490);
INSERT INTO public._sqlx_migrations VALUES (3, 'origin', '2026-11-26 22:57:52.581258+00', true, '\x3543cf887cfb95a7a08d30a8596a873d0c7b7a859936068c9c74f212a0c3da4b25d3eb7c6362145956d8ef8f3532ca68', 12015025);
INSERT INTO public.aliases VALUES (1, 'live', 1, '2026-11-26 22:57:53.69814+00');
INSERT INTO public.batches VALUES ('01a21a14-637d-750e-a8c9-12be4b8d12f4', 1, 60, 60, 0, 0, '[]', '2026-11-26 22:57:53.53101+00');
INSERT INTO public.batches VALUES ('01a21a14-98b7-7088-ab1d-dd4f4bf8eb9c', 1, 40, 40, 0, 0, '[]', '2026-11-26 22:58:07.159528+00');
INSERT INTO public.blocks OVERRIDING SYSTEM VALUE VALUES (1, 1, '01a21a14-637d-750e-a8c9-12be4b8d12f4', '\x28b52ffd60b001550e00e418c8007b225f5f6d657461646174615f5f223a7b2264696374696f6e617279223a225b5c226f736c6f5c222c5c22726f6d656265726e5c225d227d2c226e756d6265727374797065223a22463332222c227368617065223a5b36302c315d2c226f666673657473223a5b302c3234305d7d2c2263617465676f726965553234302c3438305d7d7d2020202020986e12becff7c3bf0e2d72bf3d0a573e3f359e3e3f359e3f1f858bbfee7cbfbfc976ee3fc1ca913fa01a2fbe1f854b3f3333f33e23db79bdb6f3ed3f25064140713d22c0d57889bf022b07bf8b6cd7bf295cafbfba499c3ff853933f0c02ebbf85ebd13e52b88e3f1d5a0c40ae4791bfa69bc4bf6de75bbfd578493f2db28d3f621038bf0681d5bf83c0aa3f6f12833d8716c93f23dbf93d85eb813f08acdc3e68918dbfe17ab43fa8c6cbbfdd24963f79e9c6bfcba105bf54e3a5bedbf9bebf4a0cb23f6abc74bf1b2ffd3fe3a55b3fd578c9bf000000be9a991940b4c8363f355efabe0681a5bf6de71b4023db893f0100000002000000030000000102030301030219005f7100042080a93800048085a338b88a015858313754c600d94c12bb7c203360c8551cb08b17c34a368064187119315cb655b367117a006d');
INSERT INTO public.blocks OVERRIDING SYSTEM VALUE VALUES (2, 1, '01a21a14-98b7-7088-ab1d-dd4f4bf8eb9c', '\x28b52ffd6008015d0b003413c0007b225f5f6d657461646174615f5f223a7b2264696374696f6e617279223a225b5c22726f6d655c222c5c226265726e5c225d227d2c226e756d6265727374797065223a22463332222c227368617065223a5b34302c315d2c226f666673657473223a5b302c3136305d7d2c2263617465676f726965553136302c3332305d7d7d20355e1abf894188400e2dc2bf8fc265408d975e406f1293bf08ac64406f128340a4707dbf931864bfcff79740b29d7f4014ae8340e7fbb9bf355e7240cff76b40355e8e400c026b4000008c4027314840f628984083c0724068913540986e7a40f85343bf77be7f403f357ebf21b0a2bfe7fbd9bfae4721bf96438b408d97aebee7fba93d871689408b6c87bf4c375940a8c66bbf819563bfa69b6440c3f58040010000000200000001010101020000001900800118000360002c0002200fd8188a00e43b4232b0060c06dc8e220108001cbc70805a2189bb1c900c232e9385cb2d55db186803');
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 0, '0319285def3de61f1f63c32b84d70e92', 'selected', 6, 0.47211862, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 1, '035f83660eddccdf39b289f606cf0fa0', 'selected', 3, 0.27615857, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 2, '137979cb18916ce6aafe9fa2c716eaf9', 'selected', 3, 0.13572097, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 3, '1bca395a661d1ffcc24cab8a32753e4c', 'selected', 6, 0.21824127, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 4, '1e8e6660aa65c7906b485909818b05c7', 'selected', 6, 0.47672063, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 5, '275011c7c4166e7da3cf654f21e135e7', 'selected', 6, 0.29718328, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 6, '2a2c3eeca9debb31dde6160fdc71ea12', 'selected', 1, 0.109069645, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 7, '2d961810185f48434abacb3078a371ec', 'selected', 6, 0.62858677, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 8, '2ed23f321bc6a1397577b2e92a549fae', 'selected', 4, 0.16388261, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 9, '2fb138a2964389c47b6189fd960c8b97', 'selected', 2, 0.083045185, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 10, '3b6643439d57bcc3174955fc48663c8a', 'selected', 2, 0.26900822, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 11, '471a7e6ed074f38e75b4026eeb322d6d', 'selected', 2, 1.0517673, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 12, '53469544182f42f0286815826d1c55b6', 'selected', 3, 0.27922666, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 13, '5357ef23c9c5d3d40d72d7ec2d99c84d', 'selected', 2, 0.20653236, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 14, '54a11a54dc1e7696ae6290c7b8b7f1cb', 'selected', 2, 0.03855914, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 15, '5907e73893e9d5ca58ab677332390e09', 'selected', 6, 0.2703383, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 16, '5d6e1a0be75520430dc975449594bd0f', 'selected', 6, 0.30101836, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 17, '65ac6683fdf869309bb74119dcf510b4', 'selected', 4, 0.26205873, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 18, '6a92128ca7941f74c3226e05d37c1379', 'selected', 4, 0.23342383, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 19, '6ceed0c8583e28dbf16f2b538c73124d', 'selected', 4, 0.21961784, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 20, '749e34e0c05905d89b3348f0c19d2c79', 'selected', 0, 0.013677688, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 21, '827a9ac6ce95af6cfc3f0d3bdd4ddd99', 'selected', 1, 0.012883425, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 22, '833b8e0051cfbd5bc2f15ade7f8a5e50', 'selected', 4, 0.25438875, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 23, '877b1e5c3a01f44261fc61e128df9aa1', 'selected', 6, 0.41376746, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 24, '8b82a152a44e33e15661491eafdf1082', 'selected', 2, 0.4860695, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 25, '915375d6c4310d480738bc242057388d', 'selected', 6, 0.31482434, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 26, '924cda2015ebe000c95cb9cd0e3e8a97', 'selected', 0, 0.05816374, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 27, '92d5fddcbbcf450d33c345dec6ce5fbe', 'selected', 6, 0.5020317, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 28, '92d7df59cf270935425cca02d8bf2fe4', 'selected', 0, 0.15403886, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 29, '948ddd90d5b7aaefbfdb8a48fe7180d4', 'selected', 5, 0.0018349498, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 30, '9709158aa99cc969ce6b3e7cfbb8adee', 'selected', 3, 0.18795347, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 31, '970dd5d0bcacf097c4934440b095d73f', 'selected', 2, 0.6555767, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 32, '989b84cfafd8493b6c6f531f175af299', 'selected', 6, 0.041064084, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 33, '99333e00dbdc9fe9457106392995e935', 'selected', 6, 1.0672523, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 34, 'b10564411927bba5454a40c67701483c', 'selected', 4, 0.06314969, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 35, 'b6047fb0e0bbf7180ce35d6d5a4bbbbe', 'selected', 0, 0.23840897, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 36, 'b78f3bed8838956b0c74206b840a65d6', 'selected', 1, 0.24252784, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 37, 'bbc0a7a5ef1cb02b60694ddd1377b447', 'selected', 4, 0.13933861, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 38, 'c6d6b1fe4c8314ea058b4a850d4a04e5', 'selected', 1, 0.010126591, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 39, 'cb02afb4b5139d5cfd0bb8c3c77e1618', 'selected', 1, 0.0604375, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 40, 'ce069e156dfa44eaeaaecd2524b0f8de', 'selected', 1, 0.22917768, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 41, 'd4340ee57f4b19375405024972cb85aa', 'selected', 2, 0.926328, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 42, 'd8008960a3faa8ce8e9a6b0584a3a2d5', 'selected', 0, 0.25707364, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 43, 'e1b7da589f836523b751378061e5d4be', 'selected', 2, 0.1585601, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 44, 'e736392f0ff7ba198e9e6f70bc47d799', 'selected', 1, 0.03467065, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 45, 'e8dd821e8354ecf8f45a2c487bcb0d4b', 'selected', 1, 0.23531371, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 46, 'e94cca9baac8c4a2bfb4737321af29e9', 'selected', 4, 0.42057204, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 47, 'f121cefe8dbafe9ab1f7d15c25a302b4', 'selected', 4, 0.11709553, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 48, 'f1fa59a203f68d74100e7c693369e577', 'selected', 0, 0.20721856, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 49, 'f20b566c6c117292478873116fb0ec21', 'selected', 2, 0.2502514, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 50, 'f3e3e6a9d56aac33a20eb28f0803c283', 'selected', 6, 0.3256215, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 51, 'f9d3d0d4576c77bd248e1cd64d325168', 'selected', 2, 0.8653862, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 52, 'fab1839010021fd336d7552e25fa1869', 'selected', 1, 0.09756464, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 53, 'fbb42be1615a2f2c8ce5d9607e69ba1b', 'selected', 3, 0.6081935, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 54, 'fbf465fe47d8824900f9a6c6ba470b49', 'selected', 1, 0.04387462, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 55, '101ac961e9f7a6fe328dd2cb4e0ab4ce', 'held_out', NULL, NULL, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 56, '78f75e4e4a14f68d4646d26682c0d70c', 'held_out', NULL, NULL, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 57, '048991540b0db1cc4c3ffc21358230eb', 'held_out', NULL, NULL, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 58, 'd66b9f554db9ad6ef08144a4e4ca5dd0', 'held_out', NULL, NULL, false);
INSERT INTO public.decisions VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 59, 'ee380ca83c5c4fa069e4399b0e9b394d', 'held_out', NULL, NULL, false);
INSERT INTO public.labels VALUES (1, 0, 'a');
INSERT INTO public.labels VALUES (1, 1, 'b');
INSERT INTO public.labels VALUES (1, 2, 'c');
INSERT INTO public.models OVERRIDING SYSTEM VALUE VALUES (1, 'old', '{"gate": {"max_drop": 0.02, "min_accuracy": null, "max_class_drop": 0.2, "max_forgetting": 0.1}, "input": {"kind": "tabular", "features": [{"name": "x", "type": "numeric"}, {"name": "city", "type": "categorical"}]}, "network": {"kind": "mlp", "hidden": [4]}, "learning": {"seed": 0, "epochs": null, "memory": null, "missing": "reject", "warm_up": null, "strategy": "auto", "new_share": null, "normalize": "auto", "augmentation": {"flip": false, "shift": 0, "cutout": 0, "contrast": 0.0, "brightness": 0.0}, "compensation": false, "distillation": null, "contradictory": "majority", "frozen_layers": 0, "learning_rate": null, "counterfactual": true, "early_stopping": true}, "schedule": {"paused": true, "max_delay_s": 60, "min_samples": 500}, "retention": {}, "selection": {"budget": null, "outliers": "keep", "strategy": "balanced"}}', 2, 0, '2026-11-26 22:57:52.859477+00');
INSERT INTO public.samples VALUES (1, 1, 0, 0, 1, false, false, 1, false, '\xd4340ee57f4b19375405024972cb85aa', NULL);
INSERT INTO public.samples VALUES (1, 1, 1, 1, 1, false, false, 1, false, '\x275011c7c4166e7da3cf654f21e135e7', NULL);
INSERT INTO public.samples VALUES (1, 1, 2, 1, 1, false, false, 1, false, '\x65ac6683fdf869309bb74119dcf510b4', NULL);
INSERT INTO public.samples VALUES (1, 1, 3, 0, 1, false, false, 1, false, '\x970dd5d0bcacf097c4934440b095d73f', NULL);
INSERT INTO public.samples VALUES (1, 1, 4, 1, 1, false, false, 1, false, '\x948ddd90d5b7aaefbfdb8a48fe7180d4', NULL);
INSERT INTO public.samples VALUES (1, 1, 5, 0, 1, false, false, 1, false, '\x2a2c3eeca9debb31dde6160fdc71ea12', NULL);
INSERT INTO public.samples VALUES (1, 1, 6, 1, 1, false, false, 1, false, '\x989b84cfafd8493b6c6f531f175af299', NULL);
INSERT INTO public.samples VALUES (1, 1, 7, 1, 1, false, false, 1, false, '\x5907e73893e9d5ca58ab677332390e09', NULL);
INSERT INTO public.samples VALUES (1, 1, 8, 0, 1, false, false, 1, false, '\x035f83660eddccdf39b289f606cf0fa0', NULL);
INSERT INTO public.samples VALUES (1, 1, 9, 0, 1, false, false, 1, false, '\xe736392f0ff7ba198e9e6f70bc47d799', NULL);
INSERT INTO public.samples VALUES (1, 1, 10, 0, 1, false, false, 1, false, '\xb6047fb0e0bbf7180ce35d6d5a4bbbbe', NULL);
INSERT INTO public.samples VALUES (1, 1, 11, 0, 1, false, false, 1, false, '\xce069e156dfa44eaeaaecd2524b0f8de', NULL);
INSERT INTO public.samples VALUES (1, 1, 12, 0, 1, false, false, 1, false, '\xd8008960a3faa8ce8e9a6b0584a3a2d5', NULL);
INSERT INTO public.samples VALUES (1, 1, 13, 0, 1, false, false, 1, false, '\x92d7df59cf270935425cca02d8bf2fe4', NULL);
INSERT INTO public.samples VALUES (1, 1, 14, 0, 1, false, false, 1, false, '\x53469544182f42f0286815826d1c55b6', NULL);
INSERT INTO public.samples VALUES (1, 1, 15, 0, 1, false, false, 1, false, '\xfbb42be1615a2f2c8ce5d9607e69ba1b', NULL);
INSERT INTO public.samples VALUES (1, 1, 16, 1, 1, false, false, 1, false, '\x99333e00dbdc9fe9457106392995e935', NULL);
INSERT INTO public.samples VALUES (1, 1, 17, 1, 1, false, false, 1, false, '\x2ed23f321bc6a1397577b2e92a549fae', NULL);
INSERT INTO public.samples VALUES (1, 1, 18, 1, 1, false, false, 1, false, '\x0319285def3de61f1f63c32b84d70e92', NULL);
INSERT INTO public.samples VALUES (1, 1, 19, 1, 1, false, false, 1, false, '\x877b1e5c3a01f44261fc61e128df9aa1', NULL);
INSERT INTO public.samples VALUES (1, 1, 20, 1, 1, false, false, 1, false, '\xb10564411927bba5454a40c67701483c', NULL);
INSERT INTO public.samples VALUES (1, 1, 21, 0, 1, false, false, 1, false, '\xfab1839010021fd336d7552e25fa1869', NULL);
INSERT INTO public.samples VALUES (1, 1, 22, 0, 1, false, false, 1, false, '\xfbf465fe47d8824900f9a6c6ba470b49', NULL);
INSERT INTO public.samples VALUES (1, 1, 23, 1, 1, false, false, 1, false, '\xe94cca9baac8c4a2bfb4737321af29e9', NULL);
INSERT INTO public.samples VALUES (1, 1, 24, 0, 1, false, false, 1, false, '\xf1fa59a203f68d74100e7c693369e577', NULL);
INSERT INTO public.samples VALUES (1, 1, 25, 0, 1, false, false, 1, false, '\x54a11a54dc1e7696ae6290c7b8b7f1cb', NULL);
INSERT INTO public.samples VALUES (1, 1, 26, 0, 1, false, false, 1, false, '\xf9d3d0d4576c77bd248e1cd64d325168', NULL);
INSERT INTO public.samples VALUES (1, 1, 27, 1, 1, false, false, 1, false, '\xf121cefe8dbafe9ab1f7d15c25a302b4', NULL);
INSERT INTO public.samples VALUES (1, 1, 28, 1, 1, false, false, 1, false, '\x5d6e1a0be75520430dc975449594bd0f', NULL);
INSERT INTO public.samples VALUES (1, 1, 29, 1, 1, false, false, 1, false, '\x1bca395a661d1ffcc24cab8a32753e4c', NULL);
INSERT INTO public.samples VALUES (1, 1, 30, 0, 1, false, false, 1, false, '\xe8dd821e8354ecf8f45a2c487bcb0d4b', NULL);
INSERT INTO public.samples VALUES (1, 1, 31, 0, 1, false, false, 1, false, '\xc6d6b1fe4c8314ea058b4a850d4a04e5', NULL);
INSERT INTO public.samples VALUES (1, 1, 32, 1, 1, false, false, 1, false, '\xf3e3e6a9d56aac33a20eb28f0803c283', NULL);
INSERT INTO public.samples VALUES (1, 1, 33, 1, 1, true, false, 1, false, '\x101ac961e9f7a6fe328dd2cb4e0ab4ce', NULL);
INSERT INTO public.samples VALUES (1, 1, 34, 0, 1, false, false, 1, false, '\x5357ef23c9c5d3d40d72d7ec2d99c84d', NULL);
INSERT INTO public.samples VALUES (1, 1, 35, 0, 1, false, false, 1, false, '\x924cda2015ebe000c95cb9cd0e3e8a97', NULL);
INSERT INTO public.samples VALUES (1, 1, 36, 0, 1, true, false, 1, false, '\x78f75e4e4a14f68d4646d26682c0d70c', NULL);
INSERT INTO public.samples VALUES (1, 1, 37, 0, 1, false, false, 1, false, '\x749e34e0c05905d89b3348f0c19d2c79', NULL);
INSERT INTO public.samples VALUES (1, 1, 38, 0, 1, false, false, 1, false, '\xcb02afb4b5139d5cfd0bb8c3c77e1618', NULL);
INSERT INTO public.samples VALUES (1, 1, 39, 0, 1, false, false, 1, false, '\x8b82a152a44e33e15661491eafdf1082', NULL);
INSERT INTO public.samples VALUES (1, 1, 40, 1, 1, false, false, 1, false, '\xbbc0a7a5ef1cb02b60694ddd1377b447', NULL);
INSERT INTO public.samples VALUES (1, 1, 41, 0, 1, false, false, 1, false, '\xb78f3bed8838956b0c74206b840a65d6', NULL);
INSERT INTO public.samples VALUES (1, 1, 42, 1, 1, false, false, 1, false, '\x6a92128ca7941f74c3226e05d37c1379', NULL);
INSERT INTO public.samples VALUES (1, 1, 43, 0, 1, false, false, 1, false, '\x2fb138a2964389c47b6189fd960c8b97', NULL);
INSERT INTO public.samples VALUES (1, 1, 44, 1, 1, false, false, 1, false, '\x915375d6c4310d480738bc242057388d', NULL);
INSERT INTO public.samples VALUES (1, 1, 45, 1, 1, false, false, 1, false, '\x1e8e6660aa65c7906b485909818b05c7', NULL);
INSERT INTO public.samples VALUES (1, 1, 46, 1, 1, false, false, 1, false, '\x2d961810185f48434abacb3078a371ec', NULL);
INSERT INTO public.samples VALUES (1, 1, 47, 1, 1, true, false, 1, false, '\x048991540b0db1cc4c3ffc21358230eb', NULL);
INSERT INTO public.samples VALUES (1, 1, 48, 0, 1, false, false, 1, false, '\xf20b566c6c117292478873116fb0ec21', NULL);
INSERT INTO public.samples VALUES (1, 1, 49, 1, 1, false, false, 1, false, '\x833b8e0051cfbd5bc2f15ade7f8a5e50', NULL);
INSERT INTO public.samples VALUES (1, 1, 50, 0, 1, false, false, 1, false, '\x9709158aa99cc969ce6b3e7cfbb8adee', NULL);
INSERT INTO public.samples VALUES (1, 1, 51, 0, 1, false, false, 1, false, '\xe1b7da589f836523b751378061e5d4be', NULL);
INSERT INTO public.samples VALUES (1, 1, 52, 1, 1, false, false, 1, false, '\x6ceed0c8583e28dbf16f2b538c73124d', NULL);
INSERT INTO public.samples VALUES (1, 1, 53, 0, 1, true, false, 1, false, '\xd66b9f554db9ad6ef08144a4e4ca5dd0', NULL);
INSERT INTO public.samples VALUES (1, 1, 54, 0, 1, false, false, 1, false, '\x137979cb18916ce6aafe9fa2c716eaf9', NULL);
INSERT INTO public.samples VALUES (1, 1, 55, 0, 1, false, false, 1, false, '\x3b6643439d57bcc3174955fc48663c8a', NULL);
INSERT INTO public.samples VALUES (1, 1, 56, 1, 1, false, false, 1, false, '\x92d5fddcbbcf450d33c345dec6ce5fbe', NULL);
INSERT INTO public.samples VALUES (1, 1, 57, 1, 1, true, false, 1, false, '\xee380ca83c5c4fa069e4399b0e9b394d', NULL);
INSERT INTO public.samples VALUES (1, 1, 58, 0, 1, false, false, 1, false, '\x471a7e6ed074f38e75b4026eeb322d6d', NULL);
INSERT INTO public.samples VALUES (1, 1, 59, 0, 1, false, false, 1, false, '\x827a9ac6ce95af6cfc3f0d3bdd4ddd99', NULL);
INSERT INTO public.samples VALUES (1, 2, 0, 1, 1, false, true, NULL, false, '\x991bff2c6fcd35e8842305ceae67cbd9', NULL);
INSERT INTO public.samples VALUES (1, 2, 1, 2, 1, false, true, NULL, false, '\xa140330c47613baba3459bd8693df566', NULL);
INSERT INTO public.samples VALUES (1, 2, 2, 1, 1, true, true, NULL, false, '\x7c6c9a4661b6b3795d02cd162c6c04bc', NULL);
INSERT INTO public.samples VALUES (1, 2, 3, 2, 1, false, true, NULL, false, '\x6eb677fbc57ba4698882b4b76b36ad11', NULL);
INSERT INTO public.samples VALUES (1, 2, 4, 2, 1, false, true, NULL, false, '\xd4d83a73b7c99379958ead6a8d8734ba', NULL);
INSERT INTO public.samples VALUES (1, 2, 5, 1, 1, false, true, NULL, false, '\xaa6ef8cab5a48132db2ee99c9206ba1a', NULL);
INSERT INTO public.samples VALUES (1, 2, 6, 2, 1, false, true, NULL, false, '\x3bf262822bba50e382ea815e65cb0c94', NULL);
INSERT INTO public.samples VALUES (1, 2, 7, 2, 1, false, true, NULL, false, '\x1ad0fb863c3e2ea5e515d9cd3264f62b', NULL);
INSERT INTO public.samples VALUES (1, 2, 8, 1, 1, false, true, NULL, false, '\x079d3751415609e6c6b3d3e8955bc466', NULL);
INSERT INTO public.samples VALUES (1, 2, 9, 1, 1, false, true, NULL, false, '\x16f2f2477f77cf4fca8b6a6370ef852f', NULL);
INSERT INTO public.samples VALUES (1, 2, 10, 2, 1, false, true, NULL, false, '\xaaaeb6a6ab396bdb6b447ec746b406e0', NULL);
INSERT INTO public.samples VALUES (1, 2, 11, 2, 1, false, true, NULL, false, '\x054885c8a89ac13d65b541942626362c', NULL);
INSERT INTO public.samples VALUES (1, 2, 12, 2, 1, false, true, NULL, false, '\xd5aea0ff386c4f15ced26deab50ebb5e', NULL);
INSERT INTO public.samples VALUES (1, 2, 13, 1, 1, true, true, NULL, false, '\x3a00ffeee291dcf321ac402ebab65c97', NULL);
INSERT INTO public.samples VALUES (1, 2, 14, 2, 1, false, true, NULL, false, '\xa73a5d9c641d6e80a2e58693c63f97eb', NULL);
INSERT INTO public.samples VALUES (1, 2, 15, 2, 1, false, true, NULL, false, '\xe6860730d2ef79d07db0471d6a27f9b1', NULL);
INSERT INTO public.samples VALUES (1, 2, 16, 2, 1, false, true, NULL, false, '\x5d96cc1bedb84b631919db374d6ad962', NULL);
INSERT INTO public.samples VALUES (1, 2, 17, 2, 1, false, true, NULL, false, '\x7628c0717dce171875756a1c9ee7dc2f', NULL);
INSERT INTO public.samples VALUES (1, 2, 18, 2, 1, true, true, NULL, false, '\x7e187f54b34221ce39e71038c5ce0911', NULL);
INSERT INTO public.samples VALUES (1, 2, 19, 2, 1, false, true, NULL, false, '\x93d43b320cef3aec62d33f014e337b5e', NULL);
INSERT INTO public.samples VALUES (1, 2, 20, 2, 1, false, true, NULL, false, '\x25d27b3e2b2185e93a50012f534c169b', NULL);
INSERT INTO public.samples VALUES (1, 2, 21, 2, 1, false, true, NULL, false, '\xfc0eb5621f632d43bdca656f58481119', NULL);
INSERT INTO public.samples VALUES (1, 2, 22, 2, 1, true, true, NULL, false, '\x16163b6148a58c441668aae644a9e6a4', NULL);
INSERT INTO public.samples VALUES (1, 2, 23, 2, 1, false, true, NULL, false, '\x9858e5797609128f66456b421647e000', NULL);
INSERT INTO public.samples VALUES (1, 2, 24, 1, 1, false, true, NULL, false, '\x2161dcaf81428d47514dc2639985c4f9', NULL);
INSERT INTO public.samples VALUES (1, 2, 25, 2, 1, false, true, NULL, false, '\xf14647e149ddc06073d612b6fdcb34a1', NULL);
INSERT INTO public.samples VALUES (1, 2, 26, 1, 1, false, true, NULL, false, '\xe310c6aca4ff6d6db8f227e3b5a278e5', NULL);
INSERT INTO public.samples VALUES (1, 2, 27, 1, 1, false, true, NULL, false, '\x00b8769c5c6bb803cbf90c313a382801', NULL);
INSERT INTO public.samples VALUES (1, 2, 28, 1, 1, false, true, NULL, false, '\x3688869508431a3147094a02ea695c83', NULL);
INSERT INTO public.samples VALUES (1, 2, 29, 1, 1, false, true, NULL, false, '\x1b10e048806ac691c4d2e48205a9871f', NULL);
INSERT INTO public.samples VALUES (1, 2, 30, 2, 1, false, true, NULL, false, '\x6f1dc695bcf213ebd314469018112c48', NULL);
INSERT INTO public.samples VALUES (1, 2, 31, 1, 1, false, true, NULL, false, '\xc9453ce85fc40849289360f46e6f2668', NULL);
INSERT INTO public.samples VALUES (1, 2, 32, 1, 1, false, true, NULL, false, '\xc959bc55951d8162eb18660da9d9027f', NULL);
INSERT INTO public.samples VALUES (1, 2, 33, 2, 1, false, true, NULL, false, '\xfb515499da385141b584f3486754968a', NULL);
INSERT INTO public.samples VALUES (1, 2, 34, 1, 1, false, true, NULL, false, '\xd3d94218d36cc8eed6d8376bd966599a', NULL);
INSERT INTO public.samples VALUES (1, 2, 35, 2, 1, false, true, NULL, false, '\xc30bcdba4ad3a1f5642616e00645318f', NULL);
INSERT INTO public.samples VALUES (1, 2, 36, 1, 1, false, true, NULL, false, '\x6a237fb4778ef8e5b706b739d2ec0d09', NULL);
INSERT INTO public.samples VALUES (1, 2, 37, 1, 1, false, true, NULL, false, '\xa525b181ad9d8831430f18aac98baa3a', NULL);
INSERT INTO public.samples VALUES (1, 2, 38, 2, 1, false, true, NULL, false, '\x3b037140abd73563677ab3d931c750ff', NULL);
INSERT INTO public.samples VALUES (1, 2, 39, 2, 1, false, true, NULL, false, '\x807b8aa45a5873c57d4233df174f7952', NULL);
INSERT INTO public.updates VALUES ('01a21a14-6395-71b4-bdc7-23c4b109d04e', 1, 'succeeded', 'batch', false, 'publish', 1, 1, 0, '2026-11-26 22:57:53.53101+00', NULL, false, 'published', 1, NULL, '{"gate": {"checks": [{"rule": "max_drop", "limit": 0.02, "value": null, "margin": null, "passed": true}, {"rule": "max_forgetting", "limit": 0.1, "value": null, "margin": null, "passed": true}, {"rule": "max_class_drop", "limit": 0.2, "value": null, "margin": null, "passed": true}], "passed": true, "reasons": []}, "epochs": [{"loss": 0.6702934894710779, "epoch": 1, "accuracy": 0.41818181818181815}, {"loss": 0.669234654866159, "epoch": 2, "accuracy": 0.41818181818181815}, {"loss": 0.6681890832260251, "epoch": 3, "accuracy": 0.41818181818181815}, {"loss": 0.6671581352129579, "epoch": 4, "accuracy": 0.41818181818181815}, {"loss": 0.6661406457424164, "epoch": 5, "accuracy": 0.41818181818181815}, {"loss": 0.6651359908282757, "epoch": 6, "accuracy": 0.41818181818181815}, {"loss": 0.6641442878171802, "epoch": 7, "accuracy": 0.41818181818181815}, {"loss": 0.6631655069068074, "epoch": 8, "accuracy": 0.41818181818181815}, {"loss": 0.662199642509222, "epoch": 9, "accuracy": 0.41818181818181815}, {"loss": 0.6612466080114245, "epoch": 10, "accuracy": 0.41818181818181815}, {"loss": 0.6603062879294157, "epoch": 11, "accuracy": 0.41818181818181815}, {"loss": 0.6593785230070353, "epoch": 12, "accuracy": 0.41818181818181815}, {"loss": 0.6584630319848657, "epoch": 13, "accuracy": 0.41818181818181815}, {"loss": 0.6575595699250698, "epoch": 14, "accuracy": 0.41818181818181815}, {"loss": 0.6566677736118436, "epoch": 15, "accuracy": 0.41818181818181815}, {"loss": 0.6557871839031577, "epoch": 16, "accuracy": 0.41818181818181815}, {"loss": 0.6549174273386598, "epoch": 17, "accuracy": 0.41818181818181815}, {"loss": 0.6540577569976449, "epoch": 18, "accuracy": 0.41818181818181815}, {"loss": 0.6532075079157948, "epoch": 19, "accuracy": 0.41818181818181815}, {"loss": 0.6523664332926273, "epoch": 20, "accuracy": 0.41818181818181815}, {"loss": 0.6515338690951467, "epoch": 21, "accuracy": 0.41818181818181815}, {"loss": 0.6507091242820024, "epoch": 22, "accuracy": 0.41818181818181815}, {"loss": 0.6498915227130055, "epoch": 23, "accuracy": 0.41818181818181815}, {"loss": 0.649080304428935, "epoch": 24, "accuracy": 0.41818181818181815}, {"loss": 0.6482746852561831, "epoch": 25, "accuracy": 0.41818181818181815}, {"loss": 0.6474738139659166, "epoch": 26, "accuracy": 0.41818181818181815}, {"loss": 0.6466768682003021, "epoch": 27, "accuracy": 0.41818181818181815}, {"loss": 0.6458829222247005, "epoch": 28, "accuracy": 0.41818181818181815}, {"loss": 0.645091088488698, "epoch": 29, "accuracy": 0.41818181818181815}, {"loss": 0.6443004328757524, "epoch": 30, "accuracy": 0.41818181818181815}, {"loss": 0.6435101041570306, "epoch": 31, "accuracy": 0.41818181818181815}, {"loss": 0.6427194587886333, "epoch": 32, "accuracy": 0.41818181818181815}, {"loss": 0.6419273372739553, "epoch": 33, "accuracy": 0.41818181818181815}, {"loss": 0.6411328921094537, "epoch": 34, "accuracy": 0.41818181818181815}, {"loss": 0.6403353177011013, "epoch": 35, "accuracy": 0.41818181818181815}, {"loss": 0.6395338783040643, "epoch": 36, "accuracy": 0.41818181818181815}, {"loss": 0.6387279406189919, "epoch": 37, "accuracy": 0.41818181818181815}, {"loss": 0.6379169076681137, "epoch": 38, "accuracy": 0.41818181818181815}, {"loss": 0.6371001824736595, "epoch": 39, "accuracy": 0.41818181818181815}, {"loss": 0.6362773012369871, "epoch": 40, "accuracy": 0.41818181818181815}, {"loss": 0.6354477871209383, "epoch": 41, "accuracy": 0.41818181818181815}, {"loss": 0.6346112648025155, "epoch": 42, "accuracy": 0.41818181818181815}, {"loss": 0.6337673757225275, "epoch": 43, "accuracy": 0.43636363636363634}, {"loss": 0.6329157818108797, "epoch": 44, "accuracy": 0.43636363636363634}, {"loss": 0.6320562027394772, "epoch": 45, "accuracy": 0.43636363636363634}, {"loss": 0.6311883423477411, "epoch": 46, "accuracy": 0.43636363636363634}, {"loss": 0.6303120264783502, "epoch": 47, "accuracy": 0.43636363636363634}, {"loss": 0.6294270046055317, "epoch": 48, "accuracy": 0.43636363636363634}, {"loss": 0.628533118404448, "epoch": 49, "accuracy": 0.43636363636363634}, {"loss": 0.6276301881298423, "epoch": 50, "accuracy": 0.43636363636363634}, {"loss": 0.6267180535942316, "epoch": 51, "accuracy": 0.43636363636363634}, {"loss": 0.6257966132834554, "epoch": 52, "accuracy": 0.43636363636363634}, {"loss": 0.6248657368123531, "epoch": 53, "accuracy": 0.43636363636363634}, {"loss": 0.6239252891391516, "epoch": 54, "accuracy": 0.43636363636363634}, {"loss": 0.622975186444819, "epoch": 55, "accuracy": 0.43636363636363634}, {"loss": 0.6220153598114848, "epoch": 56, "accuracy": 0.43636363636363634}, {"loss": 0.6210457542911172, "epoch": 57, "accuracy": 0.43636363636363634}, {"loss": 0.6200662953779101, "epoch": 58, "accuracy": 0.43636363636363634}, {"loss": 0.6190769067034125, "epoch": 59, "accuracy": 0.43636363636363634}, {"loss": 0.61807756498456, "epoch": 60, "accuracy": 0.43636363636363634}, {"loss": 0.6170682432129979, "epoch": 61, "accuracy": 0.45454545454545453}, {"loss": 0.6160489283502102, "epoch": 62, "accuracy": 0.45454545454545453}, {"loss": 0.6150196110829711, "epoch": 63, "accuracy": 0.45454545454545453}, {"loss": 0.613980257883668, "epoch": 64, "accuracy": 0.45454545454545453}, {"loss": 0.6129308762028813, "epoch": 65, "accuracy": 0.45454545454545453}, {"loss": 0.6118715088814497, "epoch": 66, "accuracy": 0.4727272727272727}, {"loss": 0.6108021726831794, "epoch": 67, "accuracy": 0.4727272727272727}, {"loss": 0.6097228648141026, "epoch": 68, "accuracy": 0.4727272727272727}, {"loss": 0.6086336383596063, "epoch": 69, "accuracy": 0.4727272727272727}, {"loss": 0.6075345799326897, "epoch": 70, "accuracy": 0.4727272727272727}, {"loss": 0.6064256932586432, "epoch": 71, "accuracy": 0.4727272727272727}, {"loss": 0.6053070658817887, "epoch": 72, "accuracy": 0.4909090909090909}, {"loss": 0.6041787378489971, "epoch": 73, "accuracy": 0.509090909090909}, {"loss": 0.6030408395454288, "epoch": 74, "accuracy": 0.509090909090909}, {"loss": 0.6018930803984404, "epoch": 75, "accuracy": 0.509090909090909}, {"loss": 0.6007349640130997, "epoch": 76, "accuracy": 0.509090909090909}, {"loss": 0.5995672512799501, "epoch": 77, "accuracy": 0.5454545454545454}, {"loss": 0.5983900893479586, "epoch": 78, "accuracy": 0.5454545454545454}, {"loss": 0.5972035704180598, "epoch": 79, "accuracy": 0.5454545454545454}, {"loss": 0.5960077969357371, "epoch": 80, "accuracy": 0.5454545454545454}, {"loss": 0.5948029225692153, "epoch": 81, "accuracy": 0.5454545454545454}, {"loss": 0.5935890674591064, "epoch": 82, "accuracy": 0.5454545454545454}, {"loss": 0.5923663759604096, "epoch": 83, "accuracy": 0.5454545454545454}, {"loss": 0.5911349626258016, "epoch": 84, "accuracy": 0.5454545454545454}, {"loss": 0.589895042590797, "epoch": 85, "accuracy": 0.5454545454545454}, {"loss": 0.5886467294767499, "epoch": 86, "accuracy": 0.5454545454545454}, {"loss": 0.5873901788145304, "epoch": 87, "accuracy": 0.5454545454545454}, {"loss": 0.5861255498602986, "epoch": 88, "accuracy": 0.5454545454545454}, {"loss": 0.5848530558869243, "epoch": 89, "accuracy": 0.5454545454545454}, {"loss": 0.5835728533565998, "epoch": 90, "accuracy": 0.5454545454545454}, {"loss": 0.5823006024584174, "epoch": 91, "accuracy": 0.5454545454545454}, {"loss": 0.5810254663228989, "epoch": 92, "accuracy": 0.5454545454545454}, {"loss": 0.57974449172616, "epoch": 93, "accuracy": 0.5636363636363636}, {"loss": 0.5784577140584588, "epoch": 94, "accuracy": 0.5636363636363636}, {"loss": 0.5771651212126017, "epoch": 95, "accuracy": 0.5818181818181818}, {"loss": 0.5758668361231685, "epoch": 96, "accuracy": 0.6}, {"loss": 0.5745602985844016, "epoch": 97, "accuracy": 0.6}, {"loss": 0.5732439798302948, "epoch": 98, "accuracy": 0.6}, {"loss": 0.5719213429838419, "epoch": 99, "accuracy": 0.6181818181818182}, {"loss": 0.5705925533547997, "epoch": 100, "accuracy": 0.6363636363636364}, {"loss": 0.5692546060308814, "epoch": 101, "accuracy": 0.6363636363636364}, {"loss": 0.5679100602865219, "epoch": 102, "accuracy": 0.6545454545454545}, {"loss": 0.5665593892335892, "epoch": 103, "accuracy": 0.6909090909090909}, {"loss": 0.5652027977630496, "epoch": 104, "accuracy": 0.7090909090909091}, {"loss": 0.5638405131176114, "epoch": 105, "accuracy": 0.7272727272727273}, {"loss": 0.5624726745299995, "epoch": 106, "accuracy": 0.7454545454545455}, {"loss": 0.5610995213501155, "epoch": 107, "accuracy": 0.7454545454545455}, {"loss": 0.559721227735281, "epoch": 108, "accuracy": 0.7454545454545455}, {"loss": 0.5583380167372525, "epoch": 109, "accuracy": 0.7636363636363637}, {"loss": 0.5569500611163676, "epoch": 110, "accuracy": 0.7636363636363637}, {"loss": 0.5555575513280928, "epoch": 111, "accuracy": 0.7636363636363637}, {"loss": 0.5541606941260397, "epoch": 112, "accuracy": 0.7636363636363637}, {"loss": 0.5527596925385296, "epoch": 113, "accuracy": 0.7636363636363637}, {"loss": 0.5513547332957387, "epoch": 114, "accuracy": 0.7818181818181819}, {"loss": 0.549946007784456, "epoch": 115, "accuracy": 0.7818181818181819}, {"loss": 0.5485316161066294, "epoch": 116, "accuracy": 0.7818181818181819}, {"loss": 0.5471106553450227, "epoch": 117, "accuracy": 0.7818181818181819}, {"loss": 0.5456860358826816, "epoch": 118, "accuracy": 0.7818181818181819}, {"loss": 0.544257964938879, "epoch": 119, "accuracy": 0.7818181818181819}, {"loss": 0.5428266557864845, "epoch": 120, "accuracy": 0.8363636363636363}, {"loss": 0.5413923454470932, "epoch": 121, "accuracy": 0.8363636363636363}, {"loss": 0.5399552541784942, "epoch": 122, "accuracy": 0.8363636363636363}, {"loss": 0.5385155947878957, "epoch": 123, "accuracy": 0.8363636363636363}, {"loss": 0.537073546089232, "epoch": 124, "accuracy": 0.8363636363636363}, {"loss": 0.5356293208897114, "epoch": 125, "accuracy": 0.8363636363636363}, {"loss": 0.5341831617988646, "epoch": 126, "accuracy": 0.8363636363636363}, {"loss": 0.5327352220192552, "epoch": 127, "accuracy": 0.8363636363636363}, {"loss": 0.5312857236713171, "epoch": 128, "accuracy": 0.8363636363636363}, {"loss": 0.5298348278738558, "epoch": 129, "accuracy": 0.8363636363636363}, {"loss": 0.5283827688544989, "epoch": 130, "accuracy": 0.8363636363636363}, {"loss": 0.5269303810782731, "epoch": 131, "accuracy": 0.8363636363636363}, {"loss": 0.5254818913526833, "epoch": 132, "accuracy": 0.8363636363636363}, {"loss": 0.5240332237444818, "epoch": 133, "accuracy": 0.8363636363636363}, {"loss": 0.5225844718515873, "epoch": 134, "accuracy": 0.8545454545454545}, {"loss": 0.5211358540691435, "epoch": 135, "accuracy": 0.8545454545454545}, {"loss": 0.519687463529408, "epoch": 136, "accuracy": 0.8545454545454545}, {"loss": 0.5182394818402827, "epoch": 137, "accuracy": 0.8545454545454545}, {"loss": 0.5167920673266053, "epoch": 138, "accuracy": 0.8545454545454545}, {"loss": 0.515348301269114, "epoch": 139, "accuracy": 0.8727272727272727}, {"loss": 0.5139167862944305, "epoch": 140, "accuracy": 0.8727272727272727}, {"loss": 0.5124871679581702, "epoch": 141, "accuracy": 0.8727272727272727}, {"loss": 0.5110594597645104, "epoch": 142, "accuracy": 0.8727272727272727}, {"loss": 0.5096337185241282, "epoch": 143, "accuracy": 0.8727272727272727}, {"loss": 0.5082128173671663, "epoch": 144, "accuracy": 0.8909090909090909}, {"loss": 0.5067966310307384, "epoch": 145, "accuracy": 0.8909090909090909}, {"loss": 0.5053830207325518, "epoch": 146, "accuracy": 0.8909090909090909}, {"loss": 0.5039720302447677, "epoch": 147, "accuracy": 0.8909090909090909}, {"loss": 0.502563688904047, "epoch": 148, "accuracy": 0.9090909090909091}, {"loss": 0.501158055383712, "epoch": 149, "accuracy": 0.9090909090909091}, {"loss": 0.49975521536543965, "epoch": 150, "accuracy": 0.9090909090909091}, {"loss": 0.4983551921322942, "epoch": 151, "accuracy": 0.9090909090909091}, {"loss": 0.4969581118784845, "epoch": 152, "accuracy": 0.9090909090909091}, {"loss": 0.4955640286207199, "epoch": 153, "accuracy": 0.9090909090909091}, {"loss": 0.4941730322316289, "epoch": 154, "accuracy": 0.9090909090909091}, {"loss": 0.49278522096574306, "epoch": 155, "accuracy": 0.9090909090909091}, {"loss": 0.4914006502367556, "epoch": 156, "accuracy": 0.9090909090909091}, {"loss": 0.4900194453075528, "epoch": 157, "accuracy": 0.9090909090909091}, {"loss": 0.4886416574008763, "epoch": 158, "accuracy": 0.9090909090909091}, {"loss": 0.4872674196958542, "epoch": 159, "accuracy": 0.9090909090909091}, {"loss": 0.4858967876061797, "epoch": 160, "accuracy": 0.9090909090909091}, {"loss": 0.4845329071395099, "epoch": 161, "accuracy": 0.9090909090909091}, {"loss": 0.4831751729361713, "epoch": 162, "accuracy": 0.9090909090909091}, {"loss": 0.4818217381834984, "epoch": 163, "accuracy": 0.9090909090909091}, {"loss": 0.480472672265023, "epoch": 164, "accuracy": 0.9090909090909091}, {"loss": 0.47912802640348673, "epoch": 165, "accuracy": 0.9090909090909091}, {"loss": 0.47778788721188903, "epoch": 166, "accuracy": 0.9090909090909091}, {"loss": 0.47645934810861945, "epoch": 167, "accuracy": 0.9090909090909091}, {"loss": 0.47514057951048017, "epoch": 168, "accuracy": 0.9090909090909091}, {"loss": 0.47382721630856395, "epoch": 169, "accuracy": 0.9090909090909091}, {"loss": 0.47252157563343644, "epoch": 170, "accuracy": 0.9090909090909091}, {"loss": 0.47122411616146564, "epoch": 171, "accuracy": 0.9090909090909091}, {"loss": 0.4699323745444417, "epoch": 172, "accuracy": 0.9272727272727272}, {"loss": 0.4686463284306228, "epoch": 173, "accuracy": 0.9272727272727272}, {"loss": 0.46736591635271907, "epoch": 174, "accuracy": 0.9272727272727272}, {"loss": 0.46609115693718195, "epoch": 175, "accuracy": 0.9272727272727272}, {"loss": 0.46482200967147946, "epoch": 176, "accuracy": 0.9454545454545454}, {"loss": 0.463558463845402, "epoch": 177, "accuracy": 0.9454545454545454}, {"loss": 0.462300521787256, "epoch": 178, "accuracy": 0.9454545454545454}, {"loss": 0.46104820165783167, "epoch": 179, "accuracy": 0.9454545454545454}, {"loss": 0.45980151556432247, "epoch": 180, "accuracy": 0.9454545454545454}, {"loss": 0.4585604756139219, "epoch": 181, "accuracy": 0.9454545454545454}, {"loss": 0.45732509065419436, "epoch": 182, "accuracy": 0.9454545454545454}, {"loss": 0.45609539467841387, "epoch": 183, "accuracy": 0.9454545454545454}, {"loss": 0.45487142680212855, "epoch": 184, "accuracy": 0.9454545454545454}, {"loss": 0.45365315210074186, "epoch": 185, "accuracy": 0.9454545454545454}, {"loss": 0.4524406651034951, "epoch": 186, "accuracy": 0.9454545454545454}, {"loss": 0.4512339737266302, "epoch": 187, "accuracy": 0.9636363636363636}, {"loss": 0.4500331203453243, "epoch": 188, "accuracy": 0.9636363636363636}, {"loss": 0.4488380835391581, "epoch": 189, "accuracy": 0.9636363636363636}, {"loss": 0.44764893129467964, "epoch": 190, "accuracy": 0.9636363636363636}, {"loss": 0.44646570971235633, "epoch": 191, "accuracy": 0.9636363636363636}, {"loss": 0.4452884290367365, "epoch": 192, "accuracy": 0.9636363636363636}, {"loss": 0.4441171274520457, "epoch": 193, "accuracy": 0.9636363636363636}, {"loss": 0.4429518352262676, "epoch": 194, "accuracy": 0.9636363636363636}, {"loss": 0.44179257517680526, "epoch": 195, "accuracy": 0.9636363636363636}, {"loss": 0.44063936872407794, "epoch": 196, "accuracy": 0.9636363636363636}, {"loss": 0.4394922754727304, "epoch": 197, "accuracy": 0.9636363636363636}, {"loss": 0.43835131358355284, "epoch": 198, "accuracy": 0.9636363636363636}, {"loss": 0.43721648259088397, "epoch": 199, "accuracy": 0.9636363636363636}, {"loss": 0.43609477626159787, "epoch": 200, "accuracy": 0.9636363636363636}, {"loss": 0.4349840874783695, "epoch": 201, "accuracy": 0.9636363636363636}, {"loss": 0.4338843706063926, "epoch": 202, "accuracy": 0.9636363636363636}, {"loss": 0.4327916894108057, "epoch": 203, "accuracy": 0.9636363636363636}, {"loss": 0.4317059675231576, "epoch": 204, "accuracy": 0.9636363636363636}, {"loss": 0.43062713788822293, "epoch": 205, "accuracy": 0.9636363636363636}, {"loss": 0.4295550985261798, "epoch": 206, "accuracy": 0.9636363636363636}, {"loss": 0.4284898089244962, "epoch": 207, "accuracy": 0.9636363636363636}, {"loss": 0.42743120435625315, "epoch": 208, "accuracy": 0.9636363636363636}, {"loss": 0.4263792182318866, "epoch": 209, "accuracy": 0.9636363636363636}, {"loss": 0.4253338370472193, "epoch": 210, "accuracy": 0.9636363636363636}, {"loss": 0.4242950160987675, "epoch": 211, "accuracy": 0.9636363636363636}, {"loss": 0.4232627069577575, "epoch": 212, "accuracy": 0.9636363636363636}, {"loss": 0.42223690543323755, "epoch": 213, "accuracy": 0.9636363636363636}, {"loss": 0.4212175728753209, "epoch": 214, "accuracy": 0.9636363636363636}, {"loss": 0.42020466877147555, "epoch": 215, "accuracy": 0.9636363636363636}, {"loss": 0.4191982098855078, "epoch": 216, "accuracy": 0.9636363636363636}, {"loss": 0.4181981789879501, "epoch": 217, "accuracy": 0.9636363636363636}, {"loss": 0.4172045332379639, "epoch": 218, "accuracy": 0.9636363636363636}, {"loss": 0.416217272169888, "epoch": 219, "accuracy": 0.9636363636363636}, {"loss": 0.4152363892644644, "epoch": 220, "accuracy": 0.9636363636363636}, {"loss": 0.4142618770711124, "epoch": 221, "accuracy": 0.9636363636363636}, {"loss": 0.41329372487962246, "epoch": 222, "accuracy": 0.9636363636363636}, {"loss": 0.4123319098725915, "epoch": 223, "accuracy": 0.9636363636363636}, {"loss": 0.41137643763795495, "epoch": 224, "accuracy": 0.9636363636363636}, {"loss": 0.41042731143534184, "epoch": 225, "accuracy": 0.9636363636363636}, {"loss": 0.40948447911068797, "epoch": 226, "accuracy": 0.9636363636363636}, {"loss": 0.4085479900240898, "epoch": 227, "accuracy": 0.9636363636363636}, {"loss": 0.40761779667809606, "epoch": 228, "accuracy": 0.9636363636363636}, {"loss": 0.40669391583651304, "epoch": 229, "accuracy": 0.9636363636363636}, {"loss": 0.40577633678913116, "epoch": 230, "accuracy": 0.9636363636363636}, {"loss": 0.40486503089778125, "epoch": 231, "accuracy": 0.9636363636363636}, {"loss": 0.4039600247051567, "epoch": 232, "accuracy": 0.9636363636363636}, {"loss": 0.40306128305383027, "epoch": 233, "accuracy": 0.9636363636363636}, {"loss": 0.4021691856905818, "epoch": 234, "accuracy": 0.9636363636363636}, {"loss": 0.4012873009778559, "epoch": 235, "accuracy": 0.9636363636363636}, {"loss": 0.4004172319546342, "epoch": 236, "accuracy": 0.9636363636363636}, {"loss": 0.3995561378542334, "epoch": 237, "accuracy": 0.9636363636363636}, {"loss": 0.39870183053426445, "epoch": 238, "accuracy": 0.9636363636363636}, {"loss": 0.3978541905526072, "epoch": 239, "accuracy": 0.9636363636363636}, {"loss": 0.3970131434034556, "epoch": 240, "accuracy": 0.9636363636363636}, {"loss": 0.3961786306463182, "epoch": 241, "accuracy": 0.9636363636363636}, {"loss": 0.39535058895125985, "epoch": 242, "accuracy": 0.9636363636363636}, {"loss": 0.39452896593138576, "epoch": 243, "accuracy": 0.9636363636363636}, {"loss": 0.39371367986314, "epoch": 244, "accuracy": 0.9636363636363636}, {"loss": 0.39290472539141774, "epoch": 245, "accuracy": 0.9636363636363636}, {"loss": 0.39210198796354234, "epoch": 246, "accuracy": 0.9636363636363636}, {"loss": 0.39130550576373935, "epoch": 247, "accuracy": 0.9636363636363636}, {"loss": 0.3905152028892189, "epoch": 248, "accuracy": 0.9636363636363636}, {"loss": 0.3897310334723443, "epoch": 249, "accuracy": 0.9636363636363636}, {"loss": 0.38895297865383327, "epoch": 250, "accuracy": 0.9636363636363636}, {"loss": 0.3881809713784605, "epoch": 251, "accuracy": 0.9636363636363636}, {"loss": 0.38741499627940357, "epoch": 252, "accuracy": 0.9636363636363636}, {"loss": 0.38665504939854145, "epoch": 253, "accuracy": 0.9636363636363636}, {"loss": 0.38590108789503574, "epoch": 254, "accuracy": 0.9636363636363636}, {"loss": 0.38515307498164475, "epoch": 255, "accuracy": 0.9636363636363636}, {"loss": 0.38441099715419114, "epoch": 256, "accuracy": 0.9636363636363636}, {"loss": 0.38367479713633657, "epoch": 257, "accuracy": 0.9636363636363636}, {"loss": 0.3829444795846939, "epoch": 258, "accuracy": 0.9636363636363636}, {"loss": 0.38222149200737476, "epoch": 259, "accuracy": 0.9636363636363636}, {"loss": 0.3815059373155236, "epoch": 260, "accuracy": 0.9636363636363636}, {"loss": 0.38079638476483524, "epoch": 261, "accuracy": 0.9636363636363636}, {"loss": 0.3800927852280438, "epoch": 262, "accuracy": 0.9636363636363636}, {"loss": 0.3793950767721981, "epoch": 263, "accuracy": 0.9636363636363636}, {"loss": 0.3787032491527498, "epoch": 264, "accuracy": 0.9636363636363636}, {"loss": 0.37801722157746553, "epoch": 265, "accuracy": 0.9636363636363636}, {"loss": 0.37733701267279685, "epoch": 266, "accuracy": 0.9636363636363636}, {"loss": 0.3766625120770186, "epoch": 267, "accuracy": 0.9636363636363636}, {"loss": 0.37599373678676784, "epoch": 268, "accuracy": 0.9636363636363636}, {"loss": 0.37533066770993173, "epoch": 269, "accuracy": 0.9636363636363636}, {"loss": 0.3746731895953417, "epoch": 270, "accuracy": 0.9636363636363636}, {"loss": 0.37402134481817484, "epoch": 271, "accuracy": 0.9636363636363636}, {"loss": 0.3733750875107944, "epoch": 272, "accuracy": 0.9636363636363636}, {"loss": 0.37273437692783773, "epoch": 273, "accuracy": 0.9636363636363636}, {"loss": 0.3720991669688374, "epoch": 274, "accuracy": 0.9636363636363636}, {"loss": 0.3714694583322853, "epoch": 275, "accuracy": 0.9636363636363636}, {"loss": 0.3708452240098268, "epoch": 276, "accuracy": 0.9636363636363636}, {"loss": 0.3702263960149139, "epoch": 277, "accuracy": 0.9636363636363636}, {"loss": 0.36961297737434506, "epoch": 278, "accuracy": 0.9636363636363636}, {"loss": 0.36900494573637843, "epoch": 279, "accuracy": 0.9636363636363636}, {"loss": 0.3684022731613368, "epoch": 280, "accuracy": 0.9636363636363636}, {"loss": 0.3678049216978252, "epoch": 281, "accuracy": 0.9636363636363636}, {"loss": 0.3672128531616181, "epoch": 282, "accuracy": 0.9636363636363636}, {"loss": 0.3666260817553848, "epoch": 283, "accuracy": 0.9636363636363636}, {"loss": 0.36604455183260143, "epoch": 284, "accuracy": 0.9636363636363636}, {"loss": 0.3654682256747037, "epoch": 285, "accuracy": 0.9636363636363636}, {"loss": 0.36489710956811905, "epoch": 286, "accuracy": 0.9636363636363636}, {"loss": 0.36433116369880736, "epoch": 287, "accuracy": 0.9636363636363636}, {"loss": 0.36377035663463175, "epoch": 288, "accuracy": 0.9636363636363636}, {"loss": 0.3632146567106247, "epoch": 289, "accuracy": 0.9636363636363636}, {"loss": 0.3626640581060201, "epoch": 290, "accuracy": 0.9636363636363636}, {"loss": 0.3621185126248747, "epoch": 291, "accuracy": 0.9636363636363636}, {"loss": 0.36157804378308356, "epoch": 292, "accuracy": 0.9636363636363636}, {"loss": 0.3610425612423569, "epoch": 293, "accuracy": 0.9636363636363636}, {"loss": 0.3605120650026947, "epoch": 294, "accuracy": 0.9636363636363636}, {"loss": 0.3599865515716374, "epoch": 295, "accuracy": 0.9636363636363636}, {"loss": 0.359465969260782, "epoch": 296, "accuracy": 0.9636363636363636}, {"loss": 0.3589503038674593, "epoch": 297, "accuracy": 0.9636363636363636}, {"loss": 0.35843952326104045, "epoch": 298, "accuracy": 0.9636363636363636}, {"loss": 0.35793361556716263, "epoch": 299, "accuracy": 0.9636363636363636}, {"loss": 0.35743252630345523, "epoch": 300, "accuracy": 0.9636363636363636}, {"loss": 0.35693626292049885, "epoch": 301, "accuracy": 0.9636363636363636}, {"loss": 0.3564447818789631, "epoch": 302, "accuracy": 0.9636363636363636}, {"loss": 0.3559580580331385, "epoch": 303, "accuracy": 0.9636363636363636}, {"loss": 0.3554760590195656, "epoch": 304, "accuracy": 0.9636363636363636}, {"loss": 0.3549987974110991, "epoch": 305, "accuracy": 0.9636363636363636}, {"loss": 0.3545262005645782, "epoch": 306, "accuracy": 0.9636363636363636}, {"loss": 0.3540582633577287, "epoch": 307, "accuracy": 0.9636363636363636}, {"loss": 0.35359496739692986, "epoch": 308, "accuracy": 0.9636363636363636}, {"loss": 0.3531362742651254, "epoch": 309, "accuracy": 0.9636363636363636}, {"loss": 0.3526821741834283, "epoch": 310, "accuracy": 0.9636363636363636}, {"loss": 0.35223262989893556, "epoch": 311, "accuracy": 0.9636363636363636}, {"loss": 0.35178757226094604, "epoch": 312, "accuracy": 0.9636363636363636}, {"loss": 0.35134707135148346, "epoch": 313, "accuracy": 0.9636363636363636}, {"loss": 0.35091102472506464, "epoch": 314, "accuracy": 0.9636363636363636}, {"loss": 0.35047944472171366, "epoch": 315, "accuracy": 0.9636363636363636}, {"loss": 0.3500523043330759, "epoch": 316, "accuracy": 0.9636363636363636}, {"loss": 0.349629535805434, "epoch": 317, "accuracy": 0.9636363636363636}, {"loss": 0.3492111621890217, "epoch": 318, "accuracy": 0.9818181818181818}, {"loss": 0.34879713924601674, "epoch": 319, "accuracy": 0.9818181818181818}, {"loss": 0.3483874434605241, "epoch": 320, "accuracy": 0.9818181818181818}, {"loss": 0.3479820480570197, "epoch": 321, "accuracy": 0.9818181818181818}, {"loss": 0.34758092393167317, "epoch": 322, "accuracy": 0.9818181818181818}, {"loss": 0.3471840473357588, "epoch": 323, "accuracy": 0.9818181818181818}, {"loss": 0.3467914070934057, "epoch": 324, "accuracy": 0.9818181818181818}, {"loss": 0.3464029491879046, "epoch": 325, "accuracy": 0.9818181818181818}, {"loss": 0.3460186894517392, "epoch": 326, "accuracy": 0.9818181818181818}, {"loss": 0.34563855570741, "epoch": 327, "accuracy": 0.9818181818181818}, {"loss": 0.3452625395730138, "epoch": 328, "accuracy": 0.9818181818181818}, {"loss": 0.3448906382545829, "epoch": 329, "accuracy": 0.9818181818181818}, {"loss": 0.34452279563993216, "epoch": 330, "accuracy": 0.9818181818181818}, {"loss": 0.3441589903086424, "epoch": 331, "accuracy": 0.9818181818181818}, {"loss": 0.343799214810133, "epoch": 332, "accuracy": 0.9818181818181818}, {"loss": 0.3434434267692268, "epoch": 333, "accuracy": 0.9818181818181818}, {"loss": 0.343091620830819, "epoch": 334, "accuracy": 0.9818181818181818}, {"loss": 0.3427437446080148, "epoch": 335, "accuracy": 0.9818181818181818}, {"loss": 0.34239979926496744, "epoch": 336, "accuracy": 0.9818181818181818}, {"loss": 0.3420597449876368, "epoch": 337, "accuracy": 0.9818181818181818}, {"loss": 0.3417235657107085, "epoch": 338, "accuracy": 0.9818181818181818}, {"loss": 0.3413912230171263, "epoch": 339, "accuracy": 0.9818181818181818}, {"loss": 0.34106269176118076, "epoch": 340, "accuracy": 0.9818181818181818}, {"loss": 0.3407379554118961, "epoch": 341, "accuracy": 0.9818181818181818}, {"loss": 0.34041700465604663, "epoch": 342, "accuracy": 0.9818181818181818}, {"loss": 0.3400997787248343, "epoch": 343, "accuracy": 0.9818181818181818}, {"loss": 0.33978625386953354, "epoch": 344, "accuracy": 0.9818181818181818}, {"loss": 0.3394764573313296, "epoch": 345, "accuracy": 0.9818181818181818}, {"loss": 0.3391702901571989, "epoch": 346, "accuracy": 0.9818181818181818}, {"loss": 0.33886781334877014, "epoch": 347, "accuracy": 0.9818181818181818}, {"loss": 0.3385689267888665, "epoch": 348, "accuracy": 0.9818181818181818}, {"loss": 0.3382736451458186, "epoch": 349, "accuracy": 0.9818181818181818}, {"loss": 0.3379819195251912, "epoch": 350, "accuracy": 0.9818181818181818}, {"loss": 0.3376937548164278, "epoch": 351, "accuracy": 0.9818181818181818}, {"loss": 0.33740907069295645, "epoch": 352, "accuracy": 0.9818181818181818}, {"loss": 0.33712790394201875, "epoch": 353, "accuracy": 0.9818181818181818}, {"loss": 0.33685021731071174, "epoch": 354, "accuracy": 0.9818181818181818}, {"loss": 0.3365759737789631, "epoch": 355, "accuracy": 0.9818181818181818}, {"loss": 0.33630512841045856, "epoch": 356, "accuracy": 0.9818181818181818}, {"loss": 0.33603769610635936, "epoch": 357, "accuracy": 0.9818181818181818}, {"loss": 0.3357736221514642, "epoch": 358, "accuracy": 0.9818181818181818}, {"loss": 0.33551291073672473, "epoch": 359, "accuracy": 0.9818181818181818}, {"loss": 0.335255506914109, "epoch": 360, "accuracy": 0.9818181818181818}, {"loss": 0.3350014102179557, "epoch": 361, "accuracy": 0.9818181818181818}, {"loss": 0.3347505824640393, "epoch": 362, "accuracy": 0.9818181818181818}, {"loss": 0.3345029968768358, "epoch": 363, "accuracy": 0.9818181818181818}, {"loss": 0.3342586266808212, "epoch": 364, "accuracy": 0.9818181818181818}, {"loss": 0.3340174874756485, "epoch": 365, "accuracy": 0.9818181818181818}, {"loss": 0.3337794956751168, "epoch": 366, "accuracy": 0.9818181818181818}, {"loss": 0.3335446484852582, "epoch": 367, "accuracy": 0.9818181818181818}, {"loss": 0.33331297035329044, "epoch": 368, "accuracy": 0.9818181818181818}, {"loss": 0.3330843539442867, "epoch": 369, "accuracy": 0.9818181818181818}, {"loss": 0.33285885001532733, "epoch": 370, "accuracy": 0.9818181818181818}, {"loss": 0.33263637335039675, "epoch": 371, "accuracy": 0.9818181818181818}, {"loss": 0.33241694001480937, "epoch": 372, "accuracy": 0.9818181818181818}, {"loss": 0.33220048528164625, "epoch": 373, "accuracy": 0.9818181818181818}, {"loss": 0.3319870261475444, "epoch": 374, "accuracy": 0.9818181818181818}, {"loss": 0.33177654002793133, "epoch": 375, "accuracy": 0.9818181818181818}, {"loss": 0.331568997586146, "epoch": 376, "accuracy": 0.9818181818181818}, {"loss": 0.3313643338624388, "epoch": 377, "accuracy": 0.9818181818181818}, {"loss": 0.33116258517839015, "epoch": 378, "accuracy": 0.9818181818181818}, {"loss": 0.33096369821578264, "epoch": 379, "accuracy": 0.9818181818181818}, {"loss": 0.3307676133699715, "epoch": 380, "accuracy": 0.9818181818181818}, {"loss": 0.3305744011886418, "epoch": 381, "accuracy": 0.9818181818181818}, {"loss": 0.33038394316099584, "epoch": 382, "accuracy": 0.9818181818181818}, {"loss": 0.33019627537578344, "epoch": 383, "accuracy": 0.9818181818181818}, {"loss": 0.33001135289669037, "epoch": 384, "accuracy": 0.9818181818181818}, {"loss": 0.32982913847081363, "epoch": 385, "accuracy": 0.9818181818181818}, {"loss": 0.3296496313996613, "epoch": 386, "accuracy": 0.9818181818181818}, {"loss": 0.3294727683532983, "epoch": 387, "accuracy": 0.9818181818181818}, {"loss": 0.3292985875159502, "epoch": 388, "accuracy": 0.9818181818181818}, {"loss": 0.3291270306799561, "epoch": 389, "accuracy": 0.9818181818181818}, {"loss": 0.3289580673445016, "epoch": 390, "accuracy": 0.9818181818181818}, {"loss": 0.3287916814442724, "epoch": 391, "accuracy": 0.9818181818181818}, {"loss": 0.3286278499290347, "epoch": 392, "accuracy": 0.9818181818181818}, {"loss": 0.3284665667451918, "epoch": 393, "accuracy": 0.9818181818181818}, {"loss": 0.32830778672359884, "epoch": 394, "accuracy": 0.9818181818181818}, {"loss": 0.32815149961970747, "epoch": 395, "accuracy": 0.9818181818181818}, {"loss": 0.32799765723757446, "epoch": 396, "accuracy": 0.9818181818181818}, {"loss": 0.3278462551534176, "epoch": 397, "accuracy": 0.9818181818181818}, {"loss": 0.32769726240076125, "epoch": 398, "accuracy": 0.9818181818181818}, {"loss": 0.3275507048238069, "epoch": 399, "accuracy": 0.9818181818181818}, {"loss": 0.32740647275932133, "epoch": 400, "accuracy": 0.9818181818181818}, {"loss": 0.3272645999677479, "epoch": 401, "accuracy": 0.9818181818181818}, {"loss": 0.32712502987124026, "epoch": 402, "accuracy": 0.9818181818181818}, {"loss": 0.3269877969287336, "epoch": 403, "accuracy": 0.9818181818181818}, {"loss": 0.326852808939293, "epoch": 404, "accuracy": 0.9818181818181818}, {"loss": 0.32672009500674903, "epoch": 405, "accuracy": 0.9818181818181818}, {"loss": 0.32658960577100515, "epoch": 406, "accuracy": 0.9818181818181818}, {"loss": 0.3264613242354244, "epoch": 407, "accuracy": 0.9818181818181818}, {"loss": 0.3263352061621845, "epoch": 408, "accuracy": 0.9818181818181818}, {"loss": 0.32621127110905945, "epoch": 409, "accuracy": 0.9818181818181818}, {"loss": 0.3260894608683884, "epoch": 410, "accuracy": 0.9818181818181818}, {"loss": 0.32596976682543755, "epoch": 411, "accuracy": 0.9818181818181818}, {"loss": 0.3258521659299731, "epoch": 412, "accuracy": 0.9818181818181818}, {"loss": 0.3257366265170276, "epoch": 413, "accuracy": 0.9818181818181818}, {"loss": 0.32562314230017364, "epoch": 414, "accuracy": 0.9818181818181818}, {"loss": 0.325511678121984, "epoch": 415, "accuracy": 0.9818181818181818}, {"loss": 0.3254022151231766, "epoch": 416, "accuracy": 0.9818181818181818}, {"loss": 0.3252947279252112, "epoch": 417, "accuracy": 0.9818181818181818}, {"loss": 0.32518918346613646, "epoch": 418, "accuracy": 0.9818181818181818}, {"loss": 0.32508557150140405, "epoch": 419, "accuracy": 0.9818181818181818}, {"loss": 0.3249838899355382, "epoch": 420, "accuracy": 0.9818181818181818}, {"loss": 0.3248840472660959, "epoch": 421, "accuracy": 0.9818181818181818}, {"loss": 0.32478607981465757, "epoch": 422, "accuracy": 0.9818181818181818}, {"loss": 0.3246899575460702, "epoch": 423, "accuracy": 0.9818181818181818}, {"loss": 0.3245956455357373, "epoch": 424, "accuracy": 0.9818181818181818}, {"loss": 0.32450313959270716, "epoch": 425, "accuracy": 0.9818181818181818}, {"loss": 0.3244123784825206, "epoch": 426, "accuracy": 0.9818181818181818}, {"loss": 0.3243233661632985, "epoch": 427, "accuracy": 0.9818181818181818}, {"loss": 0.3242360781878233, "epoch": 428, "accuracy": 0.9818181818181818}, {"loss": 0.32415050244890153, "epoch": 429, "accuracy": 0.9818181818181818}, {"loss": 0.3240665774792433, "epoch": 430, "accuracy": 0.9818181818181818}, {"loss": 0.32398432097397745, "epoch": 431, "accuracy": 0.9818181818181818}, {"loss": 0.3239037087187171, "epoch": 432, "accuracy": 0.9818181818181818}, {"loss": 0.3238246764522046, "epoch": 433, "accuracy": 0.9818181818181818}, {"loss": 0.3237472386099398, "epoch": 434, "accuracy": 0.9818181818181818}, {"loss": 0.32367138378322124, "epoch": 435, "accuracy": 0.9818181818181818}, {"loss": 0.32359704631380737, "epoch": 436, "accuracy": 0.9818181818181818}, {"loss": 0.3235242203809321, "epoch": 437, "accuracy": 0.9818181818181818}, {"loss": 0.3234528808388859, "epoch": 438, "accuracy": 0.9818181818181818}, {"loss": 0.32338304258883, "epoch": 439, "accuracy": 0.9818181818181818}, {"loss": 0.32331460691057146, "epoch": 440, "accuracy": 0.9818181818181818}, {"loss": 0.3232476101256907, "epoch": 441, "accuracy": 0.9818181818181818}, {"loss": 0.3231820242945105, "epoch": 442, "accuracy": 0.9818181818181818}, {"loss": 0.32311782357282937, "epoch": 443, "accuracy": 0.9818181818181818}, {"loss": 0.3230549597647041, "epoch": 444, "accuracy": 0.9818181818181818}, {"loss": 0.3229934205301106, "epoch": 445, "accuracy": 0.9818181818181818}, {"loss": 0.322933210991323, "epoch": 446, "accuracy": 0.9818181818181818}, {"loss": 0.32287426432594657, "epoch": 447, "accuracy": 0.9818181818181818}, {"loss": 0.3228166028857231, "epoch": 448, "accuracy": 0.9818181818181818}, {"loss": 0.3227601849939674, "epoch": 449, "accuracy": 0.9818181818181818}, {"loss": 0.32270496943965554, "epoch": 450, "accuracy": 0.9818181818181818}, {"loss": 0.32265094411559403, "epoch": 451, "accuracy": 0.9818181818181818}, {"loss": 0.32259808271192014, "epoch": 452, "accuracy": 0.9818181818181818}, {"loss": 0.3225463835988194, "epoch": 453, "accuracy": 0.9818181818181818}, {"loss": 0.3224958046339452, "epoch": 454, "accuracy": 0.9818181818181818}, {"loss": 0.32244632625952363, "epoch": 455, "accuracy": 0.9818181818181818}, {"loss": 0.32239792635664344, "epoch": 456, "accuracy": 0.9818181818181818}, {"loss": 0.32235057023353875, "epoch": 457, "accuracy": 0.9818181818181818}, {"loss": 0.3223042560275644, "epoch": 458, "accuracy": 0.9818181818181818}, {"loss": 0.3222589665092528, "epoch": 459, "accuracy": 0.9818181818181818}, {"loss": 0.322214636253193, "epoch": 460, "accuracy": 0.9818181818181818}, {"loss": 0.3221712550148368, "epoch": 461, "accuracy": 0.9818181818181818}, {"loss": 0.32212885515764356, "epoch": 462, "accuracy": 0.9818181818181818}, {"loss": 0.3220873437821865, "epoch": 463, "accuracy": 0.9818181818181818}, {"loss": 0.32204674929380417, "epoch": 464, "accuracy": 0.9818181818181818}, {"loss": 0.3220070032402873, "epoch": 465, "accuracy": 0.9818181818181818}, {"loss": 0.3219681065529585, "epoch": 466, "accuracy": 0.9818181818181818}, {"loss": 0.3219300399068743, "epoch": 467, "accuracy": 0.9818181818181818}, {"loss": 0.3218927721027285, "epoch": 468, "accuracy": 0.9818181818181818}, {"loss": 0.3218562724068761, "epoch": 469, "accuracy": 0.9818181818181818}, {"loss": 0.32182053942233324, "epoch": 470, "accuracy": 0.9818181818181818}, {"loss": 0.32178552635014057, "epoch": 471, "accuracy": 0.9818181818181818}, {"loss": 0.3217512278351933, "epoch": 472, "accuracy": 0.9818181818181818}, {"loss": 0.3217176233883947, "epoch": 473, "accuracy": 0.9818181818181818}, {"loss": 0.3216846601571888, "epoch": 474, "accuracy": 0.9818181818181818}, {"loss": 0.3216523507144302, "epoch": 475, "accuracy": 0.9818181818181818}, {"loss": 0.321620638249442, "epoch": 476, "accuracy": 0.9818181818181818}, {"loss": 0.32158955396153033, "epoch": 477, "accuracy": 0.9818181818181818}, {"loss": 0.3215590117033571, "epoch": 478, "accuracy": 0.9818181818181818}, {"loss": 0.3215290254447609, "epoch": 479, "accuracy": 0.9818181818181818}, {"loss": 0.3214995600283146, "epoch": 480, "accuracy": 0.9818181818181818}, {"loss": 0.3214705875143409, "epoch": 481, "accuracy": 0.9818181818181818}, {"loss": 0.3214421111624688, "epoch": 482, "accuracy": 0.9818181818181818}, {"loss": 0.32141406810842454, "epoch": 483, "accuracy": 0.9818181818181818}, {"loss": 0.32138646859675646, "epoch": 484, "accuracy": 0.9818181818181818}, {"loss": 0.32135928119532764, "epoch": 485, "accuracy": 0.9818181818181818}, {"loss": 0.3213324695825577, "epoch": 486, "accuracy": 0.9818181818181818}, {"loss": 0.3213060183916241, "epoch": 487, "accuracy": 0.9818181818181818}, {"loss": 0.3212799134198576, "epoch": 488, "accuracy": 0.9818181818181818}, {"loss": 0.3212541181128472, "epoch": 489, "accuracy": 0.9818181818181818}, {"loss": 0.32122862595133483, "epoch": 490, "accuracy": 0.9818181818181818}, {"loss": 0.32120337383821607, "epoch": 491, "accuracy": 0.9818181818181818}, {"loss": 0.32117837853729725, "epoch": 492, "accuracy": 0.9818181818181818}, {"loss": 0.32115361955948174, "epoch": 493, "accuracy": 0.9818181818181818}, {"loss": 0.3211290598846972, "epoch": 494, "accuracy": 0.9818181818181818}, {"loss": 0.32110466272570193, "epoch": 495, "accuracy": 0.9818181818181818}, {"loss": 0.32108043460175395, "epoch": 496, "accuracy": 0.9818181818181818}, {"loss": 0.3210563219618052, "epoch": 497, "accuracy": 0.9818181818181818}, {"loss": 0.3210323362145573, "epoch": 498, "accuracy": 0.9818181818181818}, {"loss": 0.3210084068123251, "epoch": 499, "accuracy": 0.9818181818181818}, {"loss": 0.32098455261439085, "epoch": 500, "accuracy": 0.9818181818181818}], "samples": {"used": 55, "dropped": 0, "pending": 60, "held_out": 5, "replayed": 0, "superseded": 0, "dropped_by_reason": {}}, "seconds": {"train": 0.059881619, "select": 0.000583087, "publish": 0.01797995, "evaluate": 0.005619411, "compensate": 0.000029854, "preprocess": 0.052564265}, "training": {"seed": 0, "steps": 500, "reason": "the history predicts new samples as well as the newest alone: it is replayed, and the parent''s answers to it are kept", "strategy": "distill", "kept_epoch": 500, "learning_rate": 0.001, "stopped_early": false, "epochs_planned": 500}, "answering": {"by": "network", "both": null, "judges": 3, "network": 1.0, "analytic": null}, "selection": {"budget": 55, "clusters": 7, "outliers": 0, "strategy": "balanced", "described": 55, "labels_left_out": 0, "near_duplicates": 0}, "evaluation": {"span": 1, "matrix": [[1.0]], "accuracy": 1.0, "held_out": 5, "per_label": {"a": {"f1": 1.0, "recall": 1.0, "support": 2, "precision": 1.0}, "b": {"f1": 1.0, "recall": 1.0, "support": 3, "precision": 1.0}}, "confusions": [], "forgetting": null, "calibration": {"error": 0.2300265432641374, "fitted_on": 3, "measured_on": 2, "temperature": 1.0, "uncalibrated_error": 0.2300265432641374}, "counterfactual": null, "parent_accuracy": null, "average_accuracy": 1.0, "confusion_matrix": {"counts": [[2, 0], [0, 3]], "labels": ["a", "b"]}, "backward_transfer": null, "balanced_accuracy": 1.0}, "new_labels": ["a", "b"]}', '2026-11-26 22:57:53.53101+00', '2026-11-26 22:57:53.558968+00', '2026-11-26 22:57:53.69814+00', 1);
INSERT INTO public.updates VALUES ('01a21a14-98c0-74bb-b11f-5e12b1b05f34', 1, 'queued', 'batch', false, NULL, 0, 0, 0, '2026-11-26 22:58:07.159528+00', NULL, false, NULL, NULL, NULL, NULL, '2026-11-26 22:58:07.159528+00', NULL, NULL, NULL);
INSERT INTO public.versions VALUES (1, 1, NULL, 'published', '01a21a14-6395-71b4-bdc7-23c4b109d04e', 'models/1/44e9f992f2291c8ca64a1520ea541ffbc6a0484c7083ba32e11ad4f275a0eef5.safetensors', 1176, '44e9f992f2291c8ca64a1520ea541ffbc6a0484c7083ba32e11ad4f275a0eef5', '{a,b}', '{"span": 1, "matrix": [[1.0]], "accuracy": 1.0, "held_out": 5, "per_label": {"a": {"f1": 1.0, "recall": 1.0, "support": 2, "precision": 1.0}, "b": {"f1": 1.0, "recall": 1.0, "support": 3, "precision": 1.0}}, "confusions": [], "forgetting": null, "calibration": {"error": 0.2300265432641374, "fitted_on": 3, "measured_on": 2, "temperature": 1.0, "uncalibrated_error": 0.2300265432641374}, "counterfactual": null, "parent_accuracy": null, "average_accuracy": 1.0, "confusion_matrix": {"counts": [[2, 0], [0, 3]], "labels": ["a", "b"]}, "backward_transfer": null, "balanced_accuracy": 1.0}', '{"checks": [{"rule": "max_drop", "limit": 0.02, "value": null, "margin": null, "passed": true}, {"rule": "max_forgetting", "limit": 0.1, "value": null, "margin": null, "passed": true}, {"rule": "max_class_drop", "limit": 0.2, "value": null, "margin": null, "passed": true}], "passed": true, "reasons": []}', '2026-11-26 22:57:53.69814+00', 'update');
SELECT pg_catalog.setval('public.blocks_id_seq', 2, true);
SELECT pg_catalog.setval('public.models_id_seq', 1, true);
ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT aliases_pkey PRIMARY KEY (model_id, alias);
ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.bodies
    ADD CONSTRAINT bodies_pkey PRIMARY KEY (model_id);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (update_id, "position");
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (model_id, route, key);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_model_id_name_key UNIQUE (model_id, name);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_pkey PRIMARY KEY (model_id, label);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_name_key UNIQUE (name);
ALTER TABLE ONLY public.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.samples
    ADD CONSTRAINT samples_pkey PRIMARY KEY (model_id, hash);
ALTER TABLE ONLY public.updates
    ADD CONSTRAINT updates_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (model_id, version);
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_update_id_key UNIQUE (update_id);
CREATE INDEX batches_of_model ON public.batches USING btree (model_id, id);
CREATE INDEX blocks_of_batch ON public.blocks USING btree (batch_id);
CREATE INDEX blocks_of_model ON public.blocks USING btree (model_id, id);
CREATE INDEX idempotency_keys_by_age ON public.idempotency_keys USING btree (created_at);
CREATE UNIQUE INDEX samples_by_client_id ON public.samples USING btree (model_id, client_id) WHERE (client_id IS NOT NULL);
CREATE INDEX samples_fresh ON public.samples USING btree (model_id, block_id) WHERE fresh;
CREATE INDEX samples_of_block ON public.samples USING btree (block_id);
CREATE INDEX samples_pending ON public.samples USING btree (model_id, block_id, "position") WHERE (version IS NULL);
CREATE INDEX samples_to_evaluate ON public.samples USING btree (model_id, label, hash) WHERE ((version IS NOT NULL) AND held_out AND (NOT withheld));
CREATE INDEX samples_to_replay ON public.samples USING btree (model_id, label, hash) WHERE ((version IS NOT NULL) AND (NOT held_out) AND (NOT withheld));
CREATE INDEX updates_of_model ON public.updates USING btree (model_id, id);
CREATE UNIQUE INDEX updates_one_running ON public.updates USING btree (model_id) WHERE (status = 'running'::text);
CREATE UNIQUE INDEX updates_one_waiting ON public.updates USING btree (model_id) WHERE ((status = 'queued'::text) AND (attempt = 0));
CREATE INDEX updates_to_claim ON public.updates USING btree (run_after) WHERE (status = 'queued'::text);
ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT aliases_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT aliases_model_id_version_fkey FOREIGN KEY (model_id, version) REFERENCES public.versions(model_id, version) ON DELETE CASCADE;
ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batches(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.blocks
    ADD CONSTRAINT blocks_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.bodies
    ADD CONSTRAINT bodies_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_update_id_fkey FOREIGN KEY (update_id) REFERENCES public.updates(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT labels_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.samples
    ADD CONSTRAINT samples_block_id_fkey FOREIGN KEY (block_id) REFERENCES public.blocks(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.samples
    ADD CONSTRAINT samples_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.updates
    ADD CONSTRAINT updates_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.versions
    ADD CONSTRAINT versions_model_id_fkey FOREIGN KEY (model_id) REFERENCES public.models(id) ON DELETE CASCADE;
