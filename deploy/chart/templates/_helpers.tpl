{{/* Names, labels, and the common parts of all pods. */}}

{{- define "moderation.name" -}}
{{- .Release.Name | trunc 30 | trimSuffix "-" -}}
{{- end }}

{{/* .root, .component */}}
{{- define "moderation.selector" -}}
app.kubernetes.io/name: moderated-grading
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "moderation.labels" -}}
{{ include "moderation.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "moderation.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* Whether the jobs run before all other resources. They cannot before Strimzi has created their user and its Secret. */}}
{{- define "moderation.areJobsHooks" -}}
{{- if not .Values.strimzi.users.enabled }}true
{{- else if lookup "v1" "Secret" .Release.Namespace (printf "%s-administrator" (include "moderation.name" .)) }}true
{{- end }}
{{- end }}

{{/* .root, .component: the Kafka user of a process, and the Secret with its password */}}
{{- define "moderation.kafkaUser" -}}
{{- if .root.Values.strimzi.users.enabled -}}
{{ include "moderation.name" .root }}-{{ .component }}
{{- else -}}
{{ get .root.Values.kafka.usernames .component | default .component }}
{{- end -}}
{{- end }}

{{/* .root, .component: the files below /etc/moderation, as sources of a projected volume */}}
{{- define "moderation.files" -}}
{{- $values := .root.Values }}
{{- $kafka := $values.kafka }}
{{- if hasPrefix "SASL" $kafka.securityProtocol }}
{{- if $values.strimzi.users.enabled }}
{{ include "moderation.file" (dict "secret" (include "moderation.kafkaUser" .) "key" "password" "path" "kafka-password") }}
{{- else }}
{{ include "moderation.file" (dict "secret" (required "kafka.existingSecret is required with SASL" $kafka.existingSecret) "key" .component "path" "kafka-password") }}
{{- end }}
{{- end }}
{{- if include "moderation.kafkaCa" .root }}
{{ include "moderation.file" (dict "secret" (include "moderation.kafkaCa" .root) "key" $kafka.caSecret.key "path" "kafka-ca.crt") }}
{{- end }}
{{- with get $kafka.clientCertificateSecrets .component }}
{{ include "moderation.file" (dict "secret" . "key" "tls.crt" "path" "kafka-client.crt") }}
{{ include "moderation.file" (dict "secret" . "key" "tls.key" "path" "kafka-client.key") }}
{{- end }}
{{- with $values.database.caSecret.name }}
{{ include "moderation.file" (dict "secret" . "key" $values.database.caSecret.key "path" "database-ca.crt") }}
{{- end }}
{{- with $values.encryption.secret }}
{{ include "moderation.file" (dict "secret" . "key" $values.encryption.key "path" "encryption.key") }}
{{- end }}
{{- if and (has .component (list "gateway" "console")) $values.auth.users.secret }}
{{ include "moderation.file" (dict "secret" $values.auth.users.secret "key" $values.auth.users.key "path" "users.jwks") }}
{{- end }}
{{- if and (eq .component "handler") $values.auth.commands.secret }}
{{ include "moderation.file" (dict "secret" $values.auth.commands.secret "key" $values.auth.commands.key "path" "commands.jwks") }}
{{- end }}
{{- if and (eq .component "console") $values.auth.openId.secret }}
{{ include "moderation.file" (dict "secret" $values.auth.openId.secret "key" $values.auth.openId.key "path" "openid-client-secret") }}
{{- end }}
{{- range $component, $commandKey := dict "gateway" $values.auth.commandKey "scheduler" $values.auth.schedulerKey }}
{{- if and (eq $component $.component) $commandKey.secret }}
{{ include "moderation.file" (dict "secret" $commandKey.secret "key" $commandKey.key "path" "command.key") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "moderation.file" -}}
- secret: {name: {{ .secret | quote }}, items: [{key: {{ .key | quote }}, path: {{ .path }}}]}
{{- end }}

{{- define "moderation.kafkaCa" -}}
{{- if hasSuffix "SSL" .Values.kafka.securityProtocol -}}
{{ .Values.kafka.caSecret.name | default (and .Values.strimzi.users.enabled (printf "%s-cluster-ca-cert" .Values.strimzi.cluster)) | default "" }}
{{- end -}}
{{- end }}

{{/* .root, .component: the settings that every process has */}}
{{- define "moderation.environment" -}}
{{- $values := .root.Values }}
- {name: KAFKA_BOOTSTRAP, value: {{ $values.kafka.bootstrap | quote }}}
- {name: KAFKA_SECURITY_PROTOCOL, value: {{ $values.kafka.securityProtocol }}}
{{- if hasPrefix "SASL" $values.kafka.securityProtocol }}
- {name: KAFKA_SASL_MECHANISM, value: {{ $values.kafka.saslMechanism }}}
- {name: KAFKA_SASL_USERNAME, value: {{ include "moderation.kafkaUser" . | quote }}}
- {name: KAFKA_SASL_PASSWORD_FILE, value: /etc/moderation/kafka-password}
{{- end }}
{{- if include "moderation.kafkaCa" .root }}
- {name: KAFKA_SSL_CA_FILE, value: /etc/moderation/kafka-ca.crt}
{{- end }}
{{- if get $values.kafka.clientCertificateSecrets .component }}
- {name: KAFKA_SSL_CERTIFICATE_FILE, value: /etc/moderation/kafka-client.crt}
- {name: KAFKA_SSL_KEY_FILE, value: /etc/moderation/kafka-client.key}
{{- end }}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $values.database.existingSecret | quote }}, key: {{ .component }}}}
- {name: TOPIC_PREFIX, value: {{ $values.topicPrefix | quote }}}
- {name: LMS_URL, value: {{ $values.urls.lms | quote }}}
{{- with $values.strimzi.topics }}
{{- if .enabled }}
- {name: TOPIC_REPLICATION_FACTOR, value: {{ .replicas | quote }}}
- {name: TOPIC_RETENTION_DAYS, value: {{ .retentionDays | quote }}}
{{- end }}
{{- end }}
{{- if $values.encryption.secret }}
- {name: ENCRYPTION_KEY_FILE, value: /etc/moderation/encryption.key}
{{- end }}
{{- range $name, $value := merge (dict) (get (get $values .component | default dict) "settings" | default dict) $values.settings }}
{{- if and $values.strimzi.topics.enabled (has $name (list "TOPIC_REPLICATION_FACTOR" "TOPIC_RETENTION_DAYS")) }}
{{- fail (printf "settings.%s: set strimzi.topics.replicas and strimzi.topics.retentionDays, which create the topics" $name) }}
{{- end }}
- {name: {{ $name }}, value: {{ include "moderation.settingValue" $value | quote }}}
{{- end }}
{{- end }}

{{/* Helm reads numbers as fractions, and writes large ones with an exponent, which no setting accepts. */}}
{{- define "moderation.settingValue" -}}
{{- if and (kindIs "float64" .) (eq . (float64 (int64 .))) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* .root, .component, .isJob, .hasFolder (for the administrator's files): the fields that all pods share */}}
{{- define "moderation.pod" -}}
{{- /* Jobs run before the chart's service account exists, with the namespace's default one; no pod has a token. */}}
serviceAccountName: {{ if .isJob }}default{{ else }}{{ include "moderation.name" .root }}{{ end }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: files
    projected:
      defaultMode: 0440
      sources: {{ include "moderation.files" . | trim | default "[]" | nindent 8 }}
  {{- if .hasFolder }}
  - name: folder
    {{- with .root.Values.administrator.existingClaim }}
    persistentVolumeClaim: {claimName: {{ . | quote }}}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "moderation.container" -}}
name: {{ .component }}
image: {{ include "moderation.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: files, mountPath: /etc/moderation, readOnly: true}
  {{- if .hasFolder }}
  - {name: folder, mountPath: /var/moderation}
  {{- end }}
{{- end }}

{{/* .root, .component, .environment (further settings), .users (whether it serves HTTP to users): a process's pods */}}
{{- define "moderation.template" -}}
{{- $process := get .root.Values .component }}
metadata:
  labels: {{ include "moderation.labels" . | nindent 4 }}
  {{- with $process.podAnnotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "moderation.pod" . | nindent 2 }}
  terminationGracePeriodSeconds: 45
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: {matchLabels: {{ include "moderation.selector" $ | fromYaml | toJson }}}
    {{- end }}
  {{- with $process.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $process.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $process.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - {{ include "moderation.container" . | nindent 6 | trim }}
      args: [python3, -m, services.{{ .component }}]
      env:
        {{- include "moderation.environment" . | trim | nindent 8 }}
        - {name: HEALTH_HOST, value: 0.0.0.0}
        - {name: HEALTH_PORT, value: "8081"}
        {{- with .environment }}
        {{- . | nindent 8 }}
        {{- end }}
      ports:
        - {name: health, containerPort: 8081}
        {{- if .users }}
        - {name: http, containerPort: 8080}
        {{- end }}
      startupProbe: {httpGet: {path: /health/live, port: health}, periodSeconds: 2, failureThreshold: 60}
      livenessProbe: {httpGet: {path: /health/live, port: health}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
      readinessProbe: {httpGet: {path: /health/ready, port: health}, periodSeconds: 5, timeoutSeconds: 5}
      {{- if .users }}
      # The pod still gets requests until every proxy knows that it is terminating.
      lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
      {{- end }}
      resources: {{ toYaml $process.resources | nindent 8 }}
{{- end }}
