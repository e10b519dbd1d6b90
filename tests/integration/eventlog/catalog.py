"""The schema of a database as text, read from PostgreSQL's catalog.

``pg_dump`` could do the same, but it refuses newer servers, and may not be installed.
"""

import psycopg

# Every object of any kind, by name. Names that contain object ids differ in each database.
OBJECTS = """
select distinct pg_describe_object(classid, objid, objsubid), ''
from pg_depend
where objid >= 16384 and pg_describe_object(classid, objid, objsubid) !~ 'pg_toast|RI_ConstraintTrigger'
"""
# The definitions of the kinds of objects that the log uses: (name, definition).
RELATIONS = """
select 'definition of ' || c.oid::regclass,
       concat_ws(' | ', c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.relforcerowsecurity,
                 c.reloptions, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
                 case when c.relkind in ('i', 'I') then pg_get_indexdef(c.oid) end,
                 case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
                 (select concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
                                   s.seqcycle) from pg_sequence s where s.seqrelid = c.oid))
from pg_class c where c.relnamespace = 'public'::regnamespace
"""
COLUMNS = """
select format('column %s of %s', a.attname, a.attrelid::regclass),
       concat_ws(' | ', rank() over (partition by a.attrelid order by a.attnum), format_type(a.atttypid, a.atttypmod),
                 a.attcollation::regcollation, a.attnotnull, a.attidentity, a.attgenerated, a.attstorage,
                 a.attcompression, a.attoptions, a.attstattarget, pg_get_expr(d.adbin, d.adrelid))
from pg_attribute a
join pg_class c on c.oid = a.attrelid left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped
"""
CONSTRAINTS = """
select format('constraint %s of %s %s', conname, conrelid::regclass, contypid::regtype), pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'public'::regnamespace
"""
TRIGGERS = """
select format('trigger %s of %s', tgname, tgrelid::regclass), concat_ws(' ', tgenabled, pg_get_triggerdef(oid))
from pg_trigger where not tgisinternal
"""
FUNCTIONS = """
select 'definition of ' || oid::regprocedure, pg_get_functiondef(oid)
from pg_proc where pronamespace = 'public'::regnamespace and prokind <> 'a'
"""
TYPES = """
select 'type ' || t.oid::regtype,
       concat_ws(' | ', t.typtype, t.typnotnull, t.typdefault, format_type(t.typbasetype, t.typtypmod),
                 array(select e.enumlabel from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder))
from pg_type t where t.typnamespace = 'public'::regnamespace
"""
POLICIES = "select format('policy %s of %s', policyname, tablename), p::text from pg_policies p"
RULES = "select format('rule %s of %s', rulename, tablename), definition from pg_rules where schemaname = 'public'"
RIGHTS = """
select 'rights to ' || name, array_to_string(array(select r::text from unnest(rights) r order by 1), ', ')
from (
    select oid::regclass::text,
           coalesce(relacl, acldefault((case relkind when 'S' then 's' else 'r' end)::"char", relowner))
    from pg_class where relnamespace = 'public'::regnamespace
    union all
    select format('column %s of %s', attname, attrelid::regclass), attacl from pg_attribute where attacl is not null
        and attrelid >= 16384
    union all
    select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner))
    from pg_proc where pronamespace = 'public'::regnamespace
    union all
    select 'type ' || oid::regtype, coalesce(typacl, acldefault('T', typowner))
    from pg_type where typnamespace = 'public'::regnamespace
    union all
    select 'schema ' || nspname, coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace where nspname !~ '^pg_'
    union all
    select format('future objects %s', defaclobjtype), defaclacl from pg_default_acl
) as everything (name, rights)
"""
COMMENTS = """
select 'comment on ' || pg_describe_object(classoid, objoid, objsubid), description
from pg_description where objoid >= 16384
"""
QUERIES = (
    OBJECTS, RELATIONS, COLUMNS, CONSTRAINTS, TRIGGERS, FUNCTIONS, TYPES, POLICIES, RULES, RIGHTS, COMMENTS,
)  # fmt: skip


def read_schema(connection: psycopg.Connection) -> dict[str, str]:
    """Return the definitions of all objects by name, without the migration tool's own tables."""
    rows = [row for query in QUERIES for row in connection.execute(query)]
    return {name: definition for name, definition in rows if "yoyo" not in name}
